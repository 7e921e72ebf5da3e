#pragma once

#include <cstdint>

#include "autograd/ops/extent2d.h"
#include "autograd/variable.h"

namespace attune {

/// A padding that leaves an axis as long as it is (stride 1 only); the odd zero of an even window stands behind.
inline constexpr int64_t kSamePadding = -1;

struct Conv2dOptions {
  Extent2d stride = 1;
  Extent2d padding = 0;  ///< zeros on both sides, or kSamePadding
  Extent2d dilation = 1;
  int64_t groups = 1;  ///< output channels of group g see input channels of group g only
};

/// Two-dimensional convolution (cross-correlation, as everywhere in the field), channels last: x [B, H, W, C], weight
/// [O, C / groups, KH, KW], bias [O] or undefined -> [B, OH, OW, O]:
///
///     y[b, i, j, o] = bias[o] + sum_{c, m, n} weight[o, c, m, n] x[b, i stride + m dilation - padding, j ..., c]
///     OH = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1
///
/// Channels stand last so that the regions of a picture are keys for attention, [B, OH OW, O], without a copy. Throws
/// ShapeError, also for a window that is larger than the padded picture.
Variable conv2d(const Variable& x, const Variable& weight, const Variable& bias, const Conv2dOptions& options = {});

struct Conv1dOptions {
  int64_t stride = 1;
  int64_t padding = 0;  ///< zeros on both sides, or kSamePadding
  int64_t dilation = 1;
  int64_t groups = 1;
};

/// The same along one axis, channels first, as weights and alignments come: x [B, C, S], weight [O, C / groups, K],
/// bias [O] or undefined -> [B, O, S'].
Variable conv1d(const Variable& x, const Variable& weight, const Variable& bias, const Conv1dOptions& options = {});

}  // namespace attune
