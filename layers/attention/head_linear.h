#pragma once

#include <cstdint>

#include "layers/module.h"

namespace attune {

/// A product of its own for every head: y[b, h, n] = W_h x[b, n, h] (+ b_h). x [B, N, H, in] -> [B, H, N, out].
/// Parameters: weight [H, out, in], Glorot's uniform; bias [H, out], zero, when asked for.
class HeadLinear : public Module {
 public:
  enum class Bias : uint8_t { kNone, kLearned };

  /// Throws ValueError for sizes below 1.
  HeadLinear(int64_t heads, int64_t in, int64_t out, Bias bias = Bias::kNone);

  /// A row whose upstream gradient is exactly 0 contributes exactly 0 to the parameters' gradients, NaN or not.
  Variable operator()(const Variable& x) const;
  /// With only the first `out` rows of every W_h, and only columns begin ... end of it: a part of a larger product.
  Variable part(const Variable& x, int64_t out, int64_t begin, int64_t end) const;

  const Variable& weight() const { return weight_; }

 private:
  Variable weight_;
  Variable bias_;
};

}  // namespace attune
