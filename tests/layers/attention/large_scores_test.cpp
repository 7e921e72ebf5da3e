// The contract of attention where scores are large: what tells weights apart is small beside them. All scores here are
// numbers that float32 holds, so that float64 of the same operands says what is right.

#include <algorithm>
#include <cmath>

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "tests/layers/attention/contract.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr Extents kSizes[] = {{2, 2, 5, 7}, {1, 2, 140, 300}, {1, 1, 300, 90}, {1, 1, 52, 1100}};
constexpr double kOffsets[] = {0, -1e4, 1e6};

/// Whole numbers -2 ... 2.
Tensor whole_numbers(const Shape& shape, uint64_t seed) {
  RandomStream stream(seed);
  Tensor x = Tensor::empty(shape, DType::kFloat32);
  for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = static_cast<float>(stream.below(5)) - 2;
  return x;
}

Operands exact_operands(const Extents& e, DType dtype) {
  return {whole_numbers({e.batch, e.queries, e.heads, 4}, 1).to(dtype),
          whole_numbers({e.batch, e.keys, e.heads, 4}, 2).to(dtype),
          random_tensor({e.batch, e.keys, e.heads, 3}, DType::kFloat32, 3).to(dtype)};
}

/// A row's addend: the offset and a few halves, another for every query.
Tensor row_offsets(const Extents& e, double offset, DType dtype) {
  const Variable whole(whole_numbers({e.batch, e.heads, e.queries, 1}, 4).to(DType::kFloat64));
  return affine(whole, 0.5, offset).value().to(dtype);
}

double largest(const Tensor& x) {
  double top = 0;
  for (const double v : values(x)) top = std::max(top, std::abs(v));
  return top;
}

/// Beside `right`, relative to what is largest there, which is somewhat above 1 unless everything cancels.
double error(const Tensor& got, const Tensor& right) {
  return max_difference(got.to(DType::kFloat64), right.to(DType::kFloat64)) / std::max(largest(right), 0.5);
}

/// Whether all of the mask's scores are exact too.
bool is_exact(const MaskKind& kind) {
  return kind.name.find("bias") == std::string::npos && kind.name != "all of them";
}

}  // namespace

TEST_CASE("contract 3.9, 3.10: large scores are told apart as small ones, output and gradients",
          "[attention][contract][large_numbers][release]") {
  for (const Extents& e : kSizes) {
    for (const MaskKind& kind : mask_kinds()) {
      if (!is_exact(kind)) continue;
      for (const double offset : kOffsets) {
        for (const double dropout : {0.0, 0.3}) {
          if (dropout > 0 && kind.name.find("causal") == std::string::npos) continue;
          const auto run_in = [&](DType dtype, AttentionPath path) {
            const Variable bias(row_offsets(e, offset, dtype), true);
            return run(exact_operands(e, dtype), kind.make(e, dtype),
                       {.path = path,
                        .dropout = dropout,
                        .upstream = random_tensor({e.batch, e.queries, e.heads, 3}, DType::kFloat32, 9).to(dtype)},
                       bias);
          };
          const Run right = run_in(DType::kFloat64, AttentionPath::kFused);
          for (const AttentionPath path : kPaths) {
            INFO(kind.name << ", T " << e.queries << ", S " << e.keys << ", scores + " << offset << ", dropout "
                           << dropout << ", " << text(path));
            const Run got = run_in(DType::kFloat32, path);
            CHECK(error(got.output, right.output) < tolerance(DType::kFloat32));
            CHECK(error(got.dq, right.dq) < tolerance(DType::kFloat32));
            CHECK(error(got.dk, right.dk) < tolerance(DType::kFloat32));
            CHECK(error(got.dv, right.dv) < tolerance(DType::kFloat32));
          }
        }
      }
    }
  }
}

TEST_CASE("contract 1.7: weights of large scores sum to 1, fused and composed",
          "[attention][contract][large_numbers][release]") {
  const NoGrad values_only;
  for (const Extents& e : kSizes) {
    for (const MaskKind& kind : mask_kinds()) {
      if (!is_exact(kind)) continue;
      for (const double offset : kOffsets) {
        for (const AttentionPath path : kPaths) {
          INFO(kind.name << ", T " << e.queries << ", S " << e.keys << ", scores + " << offset << ", " << text(path));
          const auto weights_in = [&](DType dtype) {
            const Operands in = exact_operands(e, dtype);
            const AttentionMask mask =
                kind.make(e, dtype) & AttentionMask::bias(Variable(row_offsets(e, offset, dtype)));
            const AttentionResult all =
                ScaledDotProduct({.path = path})(Variable(in.q), Variable(in.k), Variable(in.v), mask, true);
            if (dtype == DType::kFloat32) {
              CHECK(error(all.output.value(), weighted_sum(all.weights, Variable(in.v)).value()) < 2e-6);
            }
            return all.weights.value();
          };
          const Tensor got = weights_in(DType::kFloat32), right = weights_in(DType::kFloat64);
          CHECK(max_difference(got.to(DType::kFloat64), right) <= 1e-6 * largest(right));
          for (const double total : values(sum(Variable(got), {3}).value())) {
            if (total != 0) CHECK(std::abs(total - 1) < 1e-6);
          }
        }
      }
    }
  }
}
