#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

/// y = x, converting the element type. x, y: equal shapes, any strides (x may be expanded), any dtypes.
ATTUNE_KERNEL(copy, const Tensor& x, Tensor& y);

/// y = value everywhere. y: any strides, any dtype.
ATTUNE_KERNEL(fill, Tensor& y, double value);

/// y[i] = begin + i * step. y: [n], contiguous; float32, float64 or int64.
ATTUNE_KERNEL(arange, double begin, double step, Tensor& y);

}  // namespace attune
