#pragma once

#include <cstdint>

#include "autograd/ops/extent2d.h"
#include "autograd/variable.h"

namespace attune {

struct PoolOptions {
  Extent2d stride = 0;        ///< 0: as the window
  Extent2d padding = 0;       ///< at most half of the window
  bool count_padding = true;  ///< averages divide by the whole window, also where it reaches into the padding
};

/// Largest element of every window, by channel: x [B, H, W, C] -> [B, OH, OW, C], OH = (H + 2 padding - window) /
/// stride
/// + 1. Padding is never the largest; NaN always is. The gradient goes to the first of equals. Throws ShapeError.
Variable max_pool2d(const Variable& x, Extent2d window, const PoolOptions& options = {});

/// Mean of every window, padding counted as 0.
Variable average_pool2d(const Variable& x, Extent2d window, const PoolOptions& options = {});

/// Means over as many windows as `out` says, about equally large, which cover the picture: x [B, H, W, C] ->
/// [B, out.height, out.width, C]; row i is the mean of rows floor(i H / OH) ... ceil((i + 1) H / OH) - 1.
Variable adaptive_average_pool2d(const Variable& x, Extent2d out);

}  // namespace attune
