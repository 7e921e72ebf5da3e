#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/benchmarks/benchmarks.h"
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

/// A line for a step that takes so long: "attune  12.34 ms  165000 tokens/s  230 GFLOP/s  50.2% of peak".
void print_rates(const std::string& name, double milliseconds, int64_t tokens, double operations, double peak);

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

}  // namespace attune::bench
