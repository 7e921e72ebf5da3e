// Attention alone, forward and backward, float32: the fused kernel, the composed path and PyTorch, taking turns.
#include "autograd/ops/attention.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <map>

#include "framework/storage.h"
#include "tests/benchmarks/benchmarks.h"
#include "tests/benchmarks/machine.h"
#include "tests/benchmarks/peer.h"
#include "tests/benchmarks/timing.h"

namespace attune::bench {
namespace {

struct Problem {
  int64_t batch, heads, length, size;
  MaskSpec mask{};
  const char* name = "full";

  /// Pairs of a query and a key that the mask allows.
  double pairs() const {
    double count = 0;
    for (int64_t t = 0; t < length; ++t) {
      const int64_t begin = mask.window_left < 0 ? 0 : std::max<int64_t>(0, t - mask.window_left);
      const int64_t window_end = mask.window_right < 0 ? length : std::min(length, t + mask.window_right + 1);
      count += static_cast<double>(std::min(window_end, mask.causal ? t + 1 : length) - begin);
    }
    return static_cast<double>(batch * heads) * count;
  }
  /// Multiplications and additions of the two products of the forward pass. Backward takes five products: 2.5 times.
  double operations() const { return 4 * pairs() * static_cast<double>(size); }
  /// Bytes of q, k, v, the output, its gradient and the three gradients.
  double operand_bytes() const { return 8.0 * 4 * static_cast<double>(batch * heads * length * size); }
  /// Bytes of one matrix of weights.
  double weight_bytes() const { return 4.0 * static_cast<double>(batch * heads * length * length); }
};

struct Times {
  double forward = 0;  // ms
  double backward = 0;
};

using AttentionFunction = AttentionResult (*)(const Variable&, const Variable&, const Variable&, const MaskSpec&,
                                              const Variable&, const AttentionOptions&);

/// Operands of one problem, and a pass over them.
class Pass {
 public:
  Pass(const Problem& problem, AttentionFunction attend) : problem_(problem), attend_(attend) {
    RandomStream numbers(1);
    const Shape shape{problem.batch, problem.length, problem.heads, problem.size};
    for (Variable* x : {&q_, &k_, &v_}) *x = Variable(numbers.normal(shape, 0, 1), true);
    dy_ = numbers.normal(shape, 0, 1);
  }

  Times operator()() {
    for (Variable* x : {&q_, &k_, &v_}) x->zero_grad();
    const double begin = now();
    const AttentionResult result = attend_(q_, k_, v_, problem_.mask, {}, {});
    const double middle = now();
    result.output.backward(dy_);
    return {(middle - begin) * 1e3, (now() - middle) * 1e3};
  }

  /// MiB that the first pass, which finds no gradients to add to, needs beside its operands and results.
  double extra_mib() {
    reset_peak_memory();
    (*this)();
    return std::max(0.0, static_cast<double>(memory_stats().peak_bytes_in_use) - problem_.operand_bytes()) / (1 << 20);
  }

 private:
  Problem problem_;
  AttentionFunction attend_;
  Variable q_, k_, v_;
  Tensor dy_;
};

Times medians(const std::vector<Times>& times) {
  std::vector<double> forward, backward;
  for (const Times& t : times) {
    forward.push_back(t.forward);
    backward.push_back(t.backward);
  }
  return {median(forward), median(backward)};
}

/// The median of `count` passes after one more.
Times run(Pass& pass, int count) {
  std::vector<Times> times;
  for (int i = 0; i <= count; ++i) {
    const Times t = pass();
    if (i > 0) times.push_back(t);
  }
  return medians(times);
}

class TorchAttention {
 public:
  explicit TorchAttention(const Comparison& comparison) {
    if (!comparison.with_peer) return;
    peer_.emplace(std::vector<std::string>{comparison.python, comparison.peers + "/attention.py", "--threads",
                                           std::to_string(num_threads())},
                  tuned_environment());
  }

  std::optional<Times> run(const Problem& problem, int count) {
    if (!peer_) return std::nullopt;
    const nlohmann::json request = {{"B", problem.batch},
                                    {"H", problem.heads},
                                    {"T", problem.length},
                                    {"K", problem.size},
                                    {"causal", problem.mask.causal},
                                    {"reps", count}};
    const std::optional<std::string> answer = peer_->ask(request.dump());
    const nlohmann::json json = nlohmann::json::parse(answer.value_or(""), nullptr, false);
    if (json.is_discarded()) return std::nullopt;
    version_ = json["torch"];
    return Times{json["forward"], json["backward"]};
  }

  const std::string& version() const { return version_; }

 private:
  std::optional<Peer> peer_;
  std::string version_;
};

struct Row {
  Times ours;
  double extra_mib = 0;
  std::optional<Times> composed;
  std::optional<Times> torch;
};

// The composed path keeps several matrices of weights: not where they would fill the machine.
constexpr double kComposedBytes = 1.2e9;

Row measure(const Problem& problem, TorchAttention& torch, int rounds) {
  // Calls of one contender before the next has its turn: some tens of milliseconds.
  const int turn = static_cast<int>(std::clamp(5e10 / problem.operations(), 1.0, 200.0));
  std::vector<Times> ours, composed, peer;
  Row row;
  row.extra_mib = Pass(problem, attention).extra_mib();
  for (int round = 0; round < rounds; ++round) {
    {
      Pass pass(problem, attention);
      ours.push_back(run(pass, turn));
    }
    if (problem.weight_bytes() <= kComposedBytes && problem.mask.window_left < 0) {
      Pass pass(problem, attention_composed);
      composed.push_back(run(pass, std::max(1, turn / 4)));
    }
    if (problem.mask.window_left >= 0) continue;  // the peer has no windows
    if (const auto times = torch.run(problem, turn)) peer.push_back(*times);
  }
  row.ours = medians(ours);
  if (!composed.empty()) row.composed = medians(composed);
  if (!peer.empty()) row.torch = medians(peer);
  return row;
}

void print_line(const Problem& problem, const char* pass, double operations, double milliseconds, double peak,
                std::optional<double> composed, std::optional<double> torch, double extra_mib) {
  const double rate = operations / milliseconds / 1e6;
  const auto beside = [&](std::optional<double> other) {
    return other ? fmt::format("{:10.2f} {:6.2f}x", *other, *other / milliseconds) : fmt::format("{:>18}", "-");
  };
  fmt::print("{:>5}  {:<10} {:<8} {:9.2f} {:8.0f} {:6.1f}% {:8.1f}  {}  {}\n", problem.length, problem.name, pass,
             milliseconds, rate, 100 * rate / peak, extra_mib, beside(composed), beside(torch));
  std::fflush(stdout);
}

void print_row(const Problem& problem, const Row& row, double peak) {
  const auto part = [](const std::optional<Times>& times, double Times::*member) {
    return times ? std::optional<double>((*times).*member) : std::nullopt;
  };
  print_line(problem, "forward", problem.operations(), row.ours.forward, peak, part(row.composed, &Times::forward),
             part(row.torch, &Times::forward), row.extra_mib);
  print_line(problem, "backward", 2.5 * problem.operations(), row.ours.backward, peak,
             part(row.composed, &Times::backward), part(row.torch, &Times::backward), row.extra_mib);
}

}  // namespace

int run_attention(const Comparison& comparison, int64_t longest) {
  const double peak = fma_peak_gflops(num_threads());
  fmt::print("{}\n", machine_line(peak));
  fmt::print("float32; `x`: how many times faster than that one; MiB beside the operands and results\n");
  TorchAttention torch(comparison);
  const auto heading = [](const char* text) {
    fmt::print("\n{}\n{:>5}  {:<10} {:<8} {:>9} {:>8} {:>7} {:>8}  {:>18}  {:>18}\n", text, "T", "mask", "pass", "ms",
               "GFLOP/s", "peak", "MiB", "composed ms", "PyTorch ms");
  };

  heading("the experiments' shape: B 64, H 4, K 32");
  for (const bool causal : {false, true}) {
    const Problem problem{64, 4, 32, 32, {.causal = causal}, causal ? "causal" : "full"};
    print_row(problem, measure(problem, torch, comparison.rounds), peak);
  }

  heading("B 8, H 8, K 64");
  std::map<int64_t, Times> full;
  for (int64_t length = 128; length <= longest; length *= 2) {
    for (const bool causal : {false, true}) {
      const Problem problem{8, 8, length, 64, {.causal = causal}, causal ? "causal" : "full"};
      const Row row = measure(problem, torch, comparison.rounds);
      print_row(problem, row, peak);
      if (!causal) {
        full[length] = row.ours;
      } else {
        fmt::print("       causal over full: forward {:.2f}, backward {:.2f}\n",
                   row.ours.forward / full[length].forward, row.ours.backward / full[length].backward);
      }
    }
  }
  const Problem window{8, 8, longest, 64, {.window_left = 64, .window_right = 63}, "window 128"};
  const Row row = measure(window, torch, comparison.rounds);
  print_row(window, row, peak);
  fmt::print("       full over window: forward {:.1f}, backward {:.1f}\n", full[longest].forward / row.ours.forward,
             full[longest].backward / row.ours.backward);
  if (!torch.version().empty()) fmt::print("\nPyTorch {}\n", torch.version());
  fmt::print("after: {}\n", machine_line(fma_peak_gflops(num_threads())));
  return 0;
}

}  // namespace attune::bench
