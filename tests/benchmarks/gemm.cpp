// The products of a linear layer at the models' shapes: forward (x W^T), dx (dy W) and dW (dy^T x).
#include "framework/kernels/gemm.h"

#include <fmt/format.h>

#include "framework/random.h"
#include "tests/benchmarks/benchmarks.h"
#include "tests/benchmarks/machine.h"
#include "tests/benchmarks/openblas.h"
#include "tests/benchmarks/timing.h"

namespace attune::bench {
namespace {

struct Layer {
  int64_t rows, in, out;
};

// C = op(a) op(b) and its rate in GFLOP/s.
double rate(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b, Tensor& c, double operations) {
  const MatmulOptions options{.transpose_a = transpose_a, .transpose_b = transpose_b};
  return operations / median_seconds(7, 0.02, [&] { kernels::matmul(a, b, options, c); }) / 1e9;
}

}  // namespace

int run_gemm() {
  const double peak = fma_peak_gflops(num_threads());
  OpenBlas blas;
  fmt::print("{}\n{}\n\n", machine_line(peak), blas.description());
  fmt::print("{:>20}  {:>24}  {:>24}  {:>24}\n", "", "y = x W^T", "dx = dy W", "dW = dy^T x");
  fmt::print("{:>20}  {:>7} {:>7} {:>8}  {:>7} {:>7} {:>8}  {:>7} {:>7} {:>8}\n", "rows    in   out", "GFLOP/s",
             "of peak", "OpenBLAS", "GFLOP/s", "of peak", "OpenBLAS", "GFLOP/s", "of peak", "OpenBLAS");
  RandomStream random(1);
  for (const Layer& layer :
       {Layer{512, 128, 128}, Layer{2048, 128, 128}, Layer{2048, 128, 384}, Layer{2048, 128, 256},
        Layer{2048, 256, 128}, Layer{3200, 256, 256}, Layer{3200, 256, 768}, Layer{3200, 256, 512},
        Layer{3200, 512, 256}, Layer{4096, 256, 1024}, Layer{4096, 1024, 256}, Layer{2048, 128, 8192}}) {
    const Tensor x = random.uniform({layer.rows, layer.in}, -1, 1);
    const Tensor w = random.uniform({layer.out, layer.in}, -1, 1);
    const Tensor dy = random.uniform({layer.rows, layer.out}, -1, 1);
    Tensor y = Tensor::empty_like(dy);
    Tensor dx = Tensor::empty_like(x);
    Tensor dw = Tensor::empty_like(w);
    const double operations = 2.0 * static_cast<double>(layer.rows * layer.in * layer.out);
    const auto cell = [&](double own, double theirs) {
      return fmt::format("{:7.0f} {:6.1f}% {:>8}", own, 100 * own / peak,
                         theirs > 0 ? fmt::format("{:.0f}", theirs) : "-");
    };
    const double forward = rate(x, w, false, true, y, operations);
    const double forward_blas = blas.rate(x, w, false, true, y, operations);
    const double back = rate(dy, w, false, false, dx, operations);
    const double back_blas = blas.rate(dy, w, false, false, dx, operations);
    const double weights = rate(dy, x, true, false, dw, operations);
    const double weights_blas = blas.rate(dy, x, true, false, dw, operations);
    fmt::print("{:>6} {:>6} {:>6}  {}  {}  {}\n", layer.rows, layer.in, layer.out, cell(forward, forward_blas),
               cell(back, back_blas), cell(weights, weights_blas));
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace attune::bench
