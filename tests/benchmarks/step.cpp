// A training step of the sentiment model: through the public API, as a straight line of kernels, and in PyTorch, taking
// turns.
#include <fmt/format.h>

#include "framework/storage.h"
#include "tests/benchmarks/benchmarks.h"
#include "tests/benchmarks/contest.h"
#include "tests/benchmarks/machine.h"
#include "tests/benchmarks/sentiment_model.h"

namespace attune::bench {
namespace {

constexpr Turns kTurns = {.warm_up = 10, .steps = 20};

void run_with(const Comparison& comparison, double dropout) {
  const SentimentShape shape;
  fmt::print("dropout {}\n", dropout);
  SentimentStep ours(shape, dropout);
  StraightStep straight(shape, dropout);
  for (int i = 0; i < kTurns.warm_up; ++i) {
    ours();
    straight();
  }
  const ChosenPeer peer = choose_peer(comparison, "train_step.py", {"--dropout", fmt::format("{}", dropout)},
                                      {{"modules", {"--variant", "modules"}},
                                       {"modules, fused Adam", {"--variant", "modules", "--fused"}},
                                       {"lean", {"--variant", "lean"}},
                                       {"lean, fused Adam", {"--variant", "lean", "--fused"}},
                                       {"lean, fused Adam, compiled", {"--variant", "lean", "--fused", "--compile"}}},
                                      kTurns);
  std::vector<double> own_times, straight_times, peer_times, overheads, ratios, peaks;
  const uint64_t allocations = memory_stats().system_allocations;
  for (int round = 0; round < comparison.rounds; ++round) {
    peaks.push_back(fma_peak_gflops(num_threads()));
    own_times.push_back(own_turn(ours, kTurns));
    straight_times.push_back(own_turn(straight, kTurns));
    overheads.push_back(own_times.back() / straight_times.back());
    const double peer_time = peer.turn(kTurns);
    if (peer_time == 0) continue;
    peer_times.push_back(peer_time);
    ratios.push_back(peer_times.back() / own_times.back());
  }
  const auto row = [&](const std::string& name, double milliseconds) {
    print_rates(name, milliseconds, {.count = shape.tokens(), .operations = shape.operations()}, median(peaks));
  };
  row("attune", median(own_times));
  row("straight line of the same kernels", median(straight_times));
  fmt::print("  {:<44} {:7.3f}\n", "framework over straight line", median(overheads));
  if (!ratios.empty()) {
    row(peer.name, median(peer_times));
    print_ratio(median(ratios));
  }
  fmt::print("  {:<44} {:7}\n", "system allocations after warm-up", memory_stats().system_allocations - allocations);
}

}  // namespace

int run_step(const Comparison& comparison) {
  fmt::print("{}\n", machine_line(fma_peak_gflops(num_threads())));
  const SentimentShape shape;
  fmt::print(
      "sentiment: d {}, {} heads, {} blocks, ffn {}, vocabulary {}, batch {} x {}, Adam; {:.2f} GFLOP a step\n\n",
      shape.dim, shape.heads, shape.blocks, shape.ffn, shape.vocabulary, shape.batch, shape.length,
      shape.operations() / 1e9);
  for (const double dropout : {0.0, 0.1}) run_with(comparison, dropout);
  fmt::print("\nafter: {}\n", machine_line(fma_peak_gflops(num_threads())));
  return 0;
}

}  // namespace attune::bench
