// The convolutions of attune-captioning's encoders, 64 pictures of 128 x 128: forward, and the gradients of input and
// weight. Counted are the multiplications of the definition: Winograd's transforms do 3 x 3 windows with fewer.
#include "framework/kernels/conv.h"

#include <fmt/format.h>

#include "framework/random.h"
#include "tests/benchmarks/benchmarks.h"
#include "tests/benchmarks/machine.h"
#include "tests/benchmarks/operations.h"
#include "tests/benchmarks/timing.h"

namespace attune::bench {
namespace {

struct ConvLayer {
  int64_t side, in, out, window, stride;
};

}  // namespace

int run_conv() {
  constexpr int64_t kBatch = 64;
  const double peak = fma_peak_gflops(num_threads());
  fmt::print("{}\n\n", machine_line(peak));
  fmt::print("{:>32}  {:>16}  {:>16}  {:>16}\n", "", "forward", "input gradient", "weight gradient");
  fmt::print("{:>6} {:>5} {:>5} {:>6} {:>6}  {:>7} {:>8}  {:>7} {:>8}  {:>7} {:>8}\n", "side", "in", "out", "window",
             "stride", "GFLOP/s", "of peak", "GFLOP/s", "of peak", "GFLOP/s", "of peak");
  RandomStream random(1);
  for (const ConvLayer& layer :
       {ConvLayer{128, 3, 32, 4, 2}, ConvLayer{32, 32, 64, 3, 1}, ConvLayer{32, 64, 64, 3, 1},
        ConvLayer{32, 32, 64, 1, 1}, ConvLayer{16, 64, 128, 3, 1}, ConvLayer{16, 128, 128, 3, 1},
        ConvLayer{8, 128, 256, 3, 1}, ConvLayer{8, 256, 256, 3, 1}, ConvLayer{32, 64, 128, 4, 2},
        ConvLayer{128, 3, 256, 16, 16}}) {
    const int64_t padding = layer.window == 3 || layer.window == 4 ? 1 : 0;
    const ConvAxis axis{.size = layer.window, .stride = layer.stride, .padding = padding};
    const ConvSpec spec{axis, axis};
    const int64_t out_side = (layer.side + 2 * padding - layer.window) / layer.stride + 1;
    const Tensor x = random.uniform({kBatch, layer.side, layer.side, layer.in}, -1, 1);
    const Tensor weight = random.uniform({layer.out, layer.window, layer.window, layer.in}, -1, 1);
    const Tensor dy = random.uniform({kBatch, out_side, out_side, layer.out}, -1, 1);
    Tensor y = Tensor::empty_like(dy);
    Tensor dx = Tensor::empty_like(x);
    Tensor dweight = Tensor::empty_like(weight);
    const double operations = product(kBatch * out_side * out_side, layer.window * layer.window * layer.in, layer.out);
    const auto cell = [&](auto&& run) {
      const double rate = operations / median_seconds(7, 0.02, run) / 1e9;
      return fmt::format("{:7.0f} {:7.1f}%", rate, 100 * rate / peak);
    };
    const std::string forward = cell([&] { kernels::conv2d(spec, x, weight, Tensor(), y); });
    const std::string input = cell([&] { kernels::conv2d_backward_input(spec, dy, weight, dx); });
    const std::string weights = cell([&] { kernels::conv2d_backward_weight(spec, dy, x, dweight); });
    fmt::print("{:>6} {:>5} {:>5} {:>6} {:>6}  {}  {}  {}\n", layer.side, layer.in, layer.out, layer.window,
               layer.stride, forward, input, weights);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace attune::bench
