// A training step of the sentiment model: through the public API, as a straight line of kernels, and in PyTorch, taking
// turns.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>

#include "framework/storage.h"
#include "tests/benchmarks/benchmarks.h"
#include "tests/benchmarks/machine.h"
#include "tests/benchmarks/peer.h"
#include "tests/benchmarks/sentiment_model.h"
#include "tests/benchmarks/timing.h"

namespace attune::bench {
namespace {

constexpr int kWarmUp = 10;
constexpr int kTurn = 20;  // steps of one contender before the next has its turn

struct Configuration {
  std::string name;
  std::vector<std::string> arguments;
};

std::unique_ptr<Peer> start_peer(const Comparison& comparison, double dropout, const Configuration& configuration) {
  std::vector<std::string> command = {comparison.python, ATTUNE_BENCHMARK_DIR "/peers/train_step.py",
                                      "--dropout",       fmt::format("{}", dropout),
                                      "--threads",       std::to_string(num_threads())};
  command.insert(command.end(), configuration.arguments.begin(), configuration.arguments.end());
  return std::make_unique<Peer>(command, tuned_environment());
}

/// Milliseconds of `steps` steps; empty when the peer cannot run.
std::vector<double> ask(Peer& peer, int steps, std::string* version = nullptr) {
  const std::optional<std::string> answer = peer.ask(std::to_string(steps));
  if (!answer) return {};
  const nlohmann::json json = nlohmann::json::parse(*answer, nullptr, false);
  if (json.is_discarded()) return {};
  if (version != nullptr) *version = json["torch"];
  return json["ms"].get<std::vector<double>>();
}

struct ChosenPeer {
  std::unique_ptr<Peer> peer;
  std::string name;
};

// Every configuration runs a little; the fastest competes.
ChosenPeer choose_peer(const Comparison& comparison, double dropout) {
  ChosenPeer best;
  double best_time = 1e30;
  for (const Configuration& configuration :
       {Configuration{"modules", {"--variant", "modules"}},
        Configuration{"modules, fused Adam", {"--variant", "modules", "--fused"}},
        Configuration{"lean", {"--variant", "lean"}},
        Configuration{"lean, fused Adam", {"--variant", "lean", "--fused"}},
        Configuration{"lean, fused Adam, compiled", {"--variant", "lean", "--fused", "--compile"}}}) {
    auto peer = start_peer(comparison, dropout, configuration);
    std::string version;
    if (ask(*peer, kWarmUp, &version).empty()) continue;
    const std::vector<double> times = ask(*peer, kTurn);
    if (times.empty()) continue;
    const double time = median(times);
    fmt::print("    torch {}, {}: {:.2f} ms\n", version, configuration.name, time);
    std::fflush(stdout);
    if (time < best_time) {
      best_time = time;
      best = {std::move(peer), "torch " + version + ", " + configuration.name};
    }
  }
  return best;
}

template <class Step>
double turn(Step& step) {
  std::vector<double> times;
  for (int i = 0; i < kTurn; ++i) {
    const double begin = now();
    step();
    times.push_back((now() - begin) * 1e3);
  }
  return median(times);
}

void run_with(const Comparison& comparison, double dropout, double peak) {
  const SentimentShape shape;
  fmt::print("dropout {}\n", dropout);
  SentimentStep ours(shape, dropout);
  StraightStep straight(shape, dropout);
  for (int i = 0; i < kWarmUp; ++i) {
    ours();
    straight();
  }
  ChosenPeer peer;
  if (comparison.with_peer) peer = choose_peer(comparison, dropout);
  std::vector<double> own_times, straight_times, peer_times, overheads, ratios;
  const uint64_t allocations = memory_stats().system_allocations;
  for (int round = 0; round < comparison.rounds; ++round) {
    own_times.push_back(turn(ours));
    straight_times.push_back(turn(straight));
    overheads.push_back(own_times.back() / straight_times.back());
    if (!peer.peer) continue;
    const std::vector<double> times = ask(*peer.peer, kTurn);
    if (times.empty()) break;
    peer_times.push_back(median(times));
    ratios.push_back(peer_times.back() / own_times.back());
  }
  const double operations = shape.operations();
  const auto row = [&](const std::string& name, double milliseconds) {
    const double rate = operations / milliseconds / 1e6;
    fmt::print("  {:<44} {:7.2f} ms  {:8.0f} tokens/s  {:5.0f} GFLOP/s  {:5.1f}% of peak\n", name, milliseconds,
               static_cast<double>(shape.tokens()) / milliseconds * 1e3, rate, 100 * rate / peak);
  };
  row("attune", median(own_times));
  row("straight line of the same kernels", median(straight_times));
  fmt::print("  {:<44} {:7.3f}\n", "framework over straight line", median(overheads));
  if (!ratios.empty()) {
    row(peer.name, median(peer_times));
    fmt::print("  {:<44} {:7.2f}\n", "times faster than PyTorch", median(ratios));
  }
  fmt::print("  {:<44} {:7}\n", "system allocations after warm-up", memory_stats().system_allocations - allocations);
}

}  // namespace

int run_step(const Comparison& comparison) {
  const double peak = fma_peak_gflops(num_threads());
  fmt::print("{}\n", machine_line(peak));
  const SentimentShape shape;
  fmt::print(
      "sentiment: d {}, {} heads, {} blocks, ffn {}, vocabulary {}, batch {} x {}, Adam; {:.2f} GFLOP a step\n\n",
      shape.dim, shape.heads, shape.blocks, shape.ffn, shape.vocabulary, shape.batch, shape.length,
      shape.operations() / 1e9);
  for (const double dropout : {0.0, 0.1}) run_with(comparison, dropout, peak);
  fmt::print("\nafter: {}\n", machine_line(fma_peak_gflops(num_threads())));
  return 0;
}

}  // namespace attune::bench
