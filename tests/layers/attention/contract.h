#pragma once

// What the tests of the attention contract share.

#include <catch2/catch_test_macros.hpp>

#include <limits>
#include <string>
#include <string_view>

#include "layers/attention/scaled_dot_product.h"
#include "tests/support/attention.h"
#include "tests/support/tensors.h"

namespace attune::testing {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr AttentionPath kPaths[] = {AttentionPath::kFused, AttentionPath::kComposed};
constexpr DType kFloatDTypes[] = {DType::kFloat32, DType::kFloat64};
// The second crosses the blocks of the fused kernel backward, the last one forward.
const Extents kExtents[] = {{2, 2, 5, 7}, {1, 2, 140, 300}, {3, 1, 7, 5}, {1, 1, 52, 1100}};
const Extents kSmall = kExtents[0];

inline double tolerance(DType dtype) { return dtype == DType::kFloat32 ? 2e-6 : 1e-13; }

inline const MaskKind& kind_named(std::string_view name) {
  for (const MaskKind& kind : mask_kinds()) {
    if (kind.name == name) return kind;
  }
  FAIL("no mask kind " << name);
  return mask_kinds().front();
}

struct Operands {
  Tensor q, k, v;
};

inline Operands operands(const Extents& e, DType dtype = DType::kFloat64, int64_t key_heads = 0) {
  if (key_heads == 0) key_heads = e.heads;
  return {random_tensor({e.batch, e.queries, e.heads, 4}, dtype, 1),
          random_tensor({e.batch, e.keys, key_heads, 4}, dtype, 2),
          random_tensor({e.batch, e.keys, key_heads, 3}, dtype, 3)};
}

inline std::string text(AttentionPath path) { return path == AttentionPath::kFused ? "fused" : "composed"; }

/// What attention gives and what it sends back for an upstream gradient of random numbers.
struct Run {
  Tensor output, weights, dq, dk, dv, dbias;
};

struct RunOptions {
  AttentionPath path = AttentionPath::kFused;
  bool weights = false;
  double dropout = 0;
  double scale = 0;
  double softcap = 0;
  Tensor upstream{};  // random when there is none
};

inline Run run(const Operands& in, const AttentionMask& mask, const RunOptions& options, const Variable& bias = {}) {
  manual_seed(77);
  ScaledDotProduct core(
      {.scale = options.scale, .softcap = options.softcap, .dropout = options.dropout, .path = options.path});
  const Variable q(in.q, true), k(in.k, true), v(in.v, true);
  const AttentionMask whole = bias.defined() ? mask & AttentionMask::bias(bias) : mask;
  const AttentionResult result = core(q, k, v, whole, options.weights);
  const Tensor dy =
      options.upstream.defined() ? options.upstream : random_tensor(result.output.shape(), in.q.dtype(), 9);
  result.output.backward(dy);
  Run out{result.output.value(), {}, q.grad(), k.grad(), v.grad(), bias.grad()};
  if (options.weights) out.weights = result.weights.value();
  return out;
}

/// Whether any query of a head may attend to key s of sample b, and whether query t has any key.
inline bool key_is_used(const MaskKind& kind, const Extents& e, int64_t b, int64_t h, int64_t s) {
  for (int64_t t = 0; t < e.queries; ++t) {
    if (kind.allows(e, b, h, t, s)) return true;
  }
  return false;
}

inline bool query_has_key(const MaskKind& kind, const Extents& e, int64_t b, int64_t h, int64_t t) {
  for (int64_t s = 0; s < e.keys; ++s) {
    if (kind.allows(e, b, h, t, s)) return true;
  }
  return false;
}

}  // namespace attune::testing
