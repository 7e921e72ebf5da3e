// Single kernels, float32, at the shapes of the small models.
#include <benchmark/benchmark.h>

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/kernels/copy.h"
#include "framework/kernels/loss.h"
#include "framework/kernels/norm.h"
#include "framework/kernels/optim.h"
#include "framework/kernels/random.h"
#include "framework/kernels/softmax.h"
#include "tests/benchmarks/benchmarks.h"

namespace attune::bench {
namespace {

RandomStream random_numbers(1);

void count_elements(benchmark::State& state, int64_t elements) {
  state.counters["Gelem/s"] =
      benchmark::Counter(static_cast<double>(elements) * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

// Rows of n elements, `mib` MiB of them.
void softmax_rows(benchmark::State& state) {
  const int64_t n = state.range(0);
  const Tensor x = random_numbers.uniform({(state.range(1) << 18) / n, n}, -4, 4);
  Tensor y = Tensor::empty_like(x);
  for (auto _ : state) kernels::softmax(x, y);
  count_elements(state, x.numel());
}

void copy_elements(benchmark::State& state) {
  const Tensor x = random_numbers.uniform({state.range(0) << 18}, -1, 1);
  Tensor y = Tensor::empty_like(x);
  for (auto _ : state) kernels::copy(x, y);
  count_elements(state, x.numel());
}

void dropout_elements(benchmark::State& state) {
  const Tensor x = random_numbers.uniform({2048, 256}, -1, 1);
  Tensor y = Tensor::empty_like(x);
  for (auto _ : state) kernels::dropout(x, {1, 0}, 0.1, y);
  count_elements(state, x.numel());
}

void residual_norm(benchmark::State& state) {
  const Tensor x = random_numbers.uniform({2048, 128}, -1, 1);
  const Tensor branch = random_numbers.uniform(x.shape(), -1, 1);
  const Tensor gain = Tensor::full({128}, 1);
  Tensor sum = Tensor::empty_like(x), y = Tensor::empty_like(x), stats = Tensor::empty({2048, 3});
  const DropoutSpec dropout{static_cast<double>(state.range(0)) / 100, {1, 0}};
  for (auto _ : state) kernels::add_layer_norm(x, branch, dropout, gain, gain, 1e-5, sum, y, stats);
  count_elements(state, x.numel());
}

void cross_entropy_rows(benchmark::State& state) {
  const Tensor logits = random_numbers.uniform({2048, 8000}, -4, 4);
  const Tensor targets = Tensor::zeros({2048}, DType::kInt64);
  Tensor loss = Tensor::empty({2048}), stats = Tensor::empty({2048, 2}), d = Tensor::empty_like(logits);
  for (auto _ : state) {
    kernels::cross_entropy(logits, targets, Tensor(), {}, loss, stats);
    kernels::cross_entropy_backward(logits, targets, Tensor(), {}, stats, Tensor(), Tensor(), 1.0 / 2048, d);
  }
  count_elements(state, logits.numel());
}

void adam_elements(benchmark::State& state) {
  const int64_t n = 4'000'000;
  Tensor value = Tensor::zeros({n}), gradient = Tensor::full({n}, 0.1), m = Tensor::zeros({n}), v = Tensor::zeros({n});
  const FlatRange range{0, n, 1, 1e-3, 0, false};
  for (auto _ : state) kernels::adam_step(value, gradient, m, v, {&range, 1}, {}, {});
  count_elements(state, n);
}

// Forward and backward of short self-attention: the experiments' shapes.
void short_attention(benchmark::State& state) {
  const Variable qkv(random_numbers.uniform({64, state.range(0), 3, 4, 32}, -1, 1), true);
  const Tensor dy = random_numbers.uniform({64, state.range(0), 4, 32}, -1, 1);
  for (auto _ : state) attention_packed(qkv).output.backward(dy);
}

void tape_node(benchmark::State& state) {
  const Variable x(Tensor::full({1}, 1), true);
  for (auto _ : state) {
    Variable y = x;
    for (int i = 0; i < 1000; ++i) {
      y = Tape::current().record("nothing", y.value(), {&y}, [](Grads& g) { g.add(0, g.take_dy()); });
    }
    y.backward();
  }
  state.counters["per node"] =
      benchmark::Counter(1000, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

BENCHMARK(softmax_rows)->Args({32, 1})->Args({512, 1})->Args({512, 256})->UseRealTime();
BENCHMARK(copy_elements)->Arg(1)->Arg(256)->UseRealTime();
BENCHMARK(dropout_elements)->UseRealTime();
BENCHMARK(residual_norm)->Arg(0)->Arg(10)->UseRealTime();
BENCHMARK(cross_entropy_rows)->UseRealTime();
BENCHMARK(adam_elements)->UseRealTime();
BENCHMARK(short_attention)->Arg(16)->Arg(32)->Arg(64)->UseRealTime();
BENCHMARK(tape_node)->UseRealTime();

}  // namespace

int run_kernels(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace attune::bench
