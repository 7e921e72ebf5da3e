#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "framework/device.h"
#include "tests/benchmarks/benchmarks.h"
#include "tests/benchmarks/machine.h"
#include "tests/benchmarks/peer.h"
#include "tests/benchmarks/timing.h"

namespace attune::bench {

/// How long the contenders run: steps before times count, and steps of one before the next has its turn.
struct Turns {
  int warm_up = 10;
  int steps = 20;
};

/// One way to run a peer.
struct Configuration {
  std::string name;
  std::vector<std::string> arguments;
};

struct ChosenPeer {
  std::unique_ptr<Peer> peer;
  std::string name;

  /// Median milliseconds of a step over one turn; 0 where there is no peer or it has ended.
  double turn(const Turns& turns) const;
};

/// Runs every configuration of peers/SCRIPT a little and prints its time; the fastest competes. None without a peer.
ChosenPeer choose_peer(const Comparison& comparison, const std::string& script,
                       const std::vector<std::string>& arguments, const std::vector<Configuration>& configurations,
                       const Turns& turns);

/// What a step works through: 4096 "tokens".
struct Work {
  int64_t count = 0;
  const char* unit = "tokens";
  double operations = 0;
};

/// A line for a step that takes so long: "attune  12.34 ms  165000 tokens/s  230 GFLOP/s  50.2% of peak".
void print_rates(const std::string& name, double milliseconds, const Work& work, double peak);
/// The same of what has no operations to count.
void print_rate(const std::string& name, double milliseconds, const Work& work);

/// Median milliseconds of our step over one turn.
template <class Step>
double own_turn(Step& step, const Turns& turns) {
  std::vector<double> times;
  for (int i = 0; i < turns.steps; ++i) {
    const double begin = now();
    step();
    times.push_back((now() - begin) * 1e3);
  }
  return median(times);
}

/// "times faster than PyTorch  1.62"
void print_ratio(double ratio);

/// Medians over the rounds of two contenders that take turns.
struct Contest {
  double own = 0;   // ms
  double peer = 0;  // ms; 0 without a peer
  double ratio = 0;
  double peak = 0;  // GFLOP/s, measured in each round: what a shared machine has to give changes from minute to minute
};

template <class Step>
Contest contest(const Comparison& comparison, const Turns& turns, const ChosenPeer& peer, Step&& step) {
  std::vector<double> own_times, peer_times, ratios, peaks;
  for (int round = 0; round < comparison.rounds; ++round) {
    peaks.push_back(fma_peak_gflops(num_threads()));
    own_times.push_back(own_turn(step, turns));
    const double peer_time = peer.turn(turns);
    if (peer_time == 0) continue;
    peer_times.push_back(peer_time);
    ratios.push_back(peer_time / own_times.back());
  }
  return {median(own_times), median(peer_times), median(ratios), median(peaks)};
}

/// row(name, milliseconds) of both, and how many times faster the first is.
template <class Row>
void print_contest(const Contest& times, const ChosenPeer& peer, Row&& row) {
  row("attune", times.own);
  if (times.peer == 0) return;
  row(peer.name, times.peer);
  print_ratio(times.ratio);
}

}  // namespace attune::bench
