#pragma once

#include <cstdint>

#include "framework/kernels/kernel.h"

namespace attune {

enum class Comparison : uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual };

/// y (bool) = a <comparison> b. a, b: broadcast to the shape of y, any strides, one dtype, any; y: any strides. Nothing
/// but kNotEqual holds of NaN.
ATTUNE_KERNEL(compare, const Tensor& a, const Tensor& b, Comparison comparison, Tensor& y);

}  // namespace attune
