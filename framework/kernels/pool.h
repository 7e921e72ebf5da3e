#pragma once

#include <cstdint>

#include "framework/kernels/kernel.h"

namespace attune {

/// Which input positions meet at each output position of one axis: windows that slide, or (adaptive) `out` of about
/// equal length that cover the axis.
struct PoolAxis {
  int64_t in = 0;
  int64_t out = 0;
  int64_t size = 0;
  int64_t stride = 1;
  int64_t padding = 0;
  bool adaptive = false;

  int64_t begin(int64_t i) const { return adaptive ? i * in / out : (i * stride < padding ? 0 : i * stride - padding); }
  int64_t end(int64_t i) const {
    return adaptive ? ((i + 1) * in + out - 1) / out
                    : (i * stride - padding + size < in ? i * stride - padding + size : in);
  }
};

struct PoolSpec {
  PoolAxis height;
  PoolAxis width;
  bool count_padding = false;  ///< averages divide by the whole window, not by what lies inside the picture
};

// x, dx [B, H, W, C], y, dy [B, OH, OW, C]; contiguous. No window lies outside of the picture.

/// Largest element of every window; NaN counts as largest.
ATTUNE_WIDE_KERNEL(max_pool2d, const Tensor& x, const PoolSpec& spec, Tensor& y);

/// The gradient goes to the first of equals. dx is written.
ATTUNE_WIDE_KERNEL(max_pool2d_backward, const Tensor& dy, const Tensor& x, const Tensor& y, const PoolSpec& spec,
                   Tensor& dx);

/// Mean of every window.
ATTUNE_WIDE_KERNEL(average_pool2d, const Tensor& x, const PoolSpec& spec, Tensor& y);

/// dx is written.
ATTUNE_WIDE_KERNEL(average_pool2d_backward, const Tensor& dy, const PoolSpec& spec, Tensor& dx);

}  // namespace attune
