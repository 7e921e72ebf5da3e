#pragma once

#include "framework/kernels/kernel.h"
#include "framework/random.h"

namespace attune {

/// y = x / (1 - p) where the draw at `state` keeps the element, 0 elsewhere (NaN too): element i is kept when its
/// random word (framework/random.h) is at least floor(p 2^32). x: any strides; y: contiguous, same shape and floating
/// dtype; y may be x.
ATTUNE_KERNEL(dropout, const Tensor& x, RandomState state, double p, Tensor& y);

}  // namespace attune
