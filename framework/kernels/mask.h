#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

/// y = a && b. a, b: bool, any strides (may be expanded); y: bool, contiguous; equal shapes.
ATTUNE_KERNEL(logical_and, const Tensor& a, const Tensor& b, Tensor& y);

/// y = a || b, in the same way.
ATTUNE_KERNEL(logical_or, const Tensor& a, const Tensor& b, Tensor& y);

/// y = !x. x: bool, any strides; y: bool, contiguous, same shape.
ATTUNE_KERNEL(logical_not, const Tensor& x, Tensor& y);

}  // namespace attune
