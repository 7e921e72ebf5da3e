#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

/// y += x. x: any strides; y: contiguous, same shape and floating dtype.
ATTUNE_KERNEL(accumulate, const Tensor& x, Tensor& y);

/// index = row-major position of the first NaN or infinity in x, -1 when there is none. x: floating, any strides.
ATTUNE_WIDE_KERNEL(find_non_finite, const Tensor& x, int64_t& index);

}  // namespace attune
