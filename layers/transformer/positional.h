#pragma once

#include <cstdint>

#include "layers/module.h"

// Positions that are added to what attention reads. Those that attention itself knows (rotary, ALiBi, T5's buckets,
// Shaw's relative ones) are in layers/attention/positions.h and relative.h.

namespace attune {

/// x + p with sinusoidal positions (Vaswani et al., 2017, section 3.5): p[pos, 2i] = sin(pos / 10000^(2i / D)),
/// p[pos, 2i + 1] = cos of the same. x [B, T, D] -> [B, T, D]. Has no parameters.
class SinusoidalPositions : public Module {
 public:
  /// Throws ValueError for extents below 1.
  explicit SinusoidalPositions(int64_t dim, int64_t max_length = 1024);

  /// offset: position of the first of the T, when decoding step by step. Throws ShapeError naming the module when the
  /// positions go beyond max_length.
  Variable operator()(const Variable& x, int64_t offset = 0) const;
  /// At positions of each sample's own, int64 [B, T]. Throws ValueError for those beyond max_length.
  Variable operator()(const Variable& x, const Tensor& positions) const;

 private:
  Variable table_;
};

/// x + p with a learned vector for every position (Gehring et al., 2017, section 3.1). x [B, T, D] -> [B, T, D].
/// Parameter: weight [max_length, D], normal with stddev 0.02.
class LearnedPositions : public Module {
 public:
  /// Throws ValueError for extents below 1.
  LearnedPositions(int64_t dim, int64_t max_length);

  /// As SinusoidalPositions.
  Variable operator()(const Variable& x, int64_t offset = 0) const;
  Variable operator()(const Variable& x, const Tensor& positions) const;

 private:
  Variable weight_;
};

}  // namespace attune
