#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

// Along the middle axis of [outer, n, inner]. x: any strides.

/// y[o, i] = largest x[o, :, i], index[o, i] (int64) = where it is first; NaN counts as largest. x: [outer, n, inner],
/// n > 0, floating or int64; y, index: [outer, 1, inner], contiguous.
ATTUNE_WIDE_KERNEL(max, const Tensor& x, Tensor& y, Tensor& index);
/// The same with the smallest; NaN counts as smallest.
ATTUNE_WIDE_KERNEL(min, const Tensor& x, Tensor& y, Tensor& index);

/// y[o, i] = the product of x[o, :, i], 1 of nothing. x: [outer, n, inner], floating or int64; y: [outer, 1, inner],
/// contiguous, same dtype.
ATTUNE_WIDE_KERNEL(product, const Tensor& x, Tensor& y);
/// y[o, i] (int64) = the sum of x[o, :, i]. x: [outer, n, inner], int64 or bool; y: [outer, 1, inner], contiguous.
ATTUNE_KERNEL(sum_integers, const Tensor& x, Tensor& y);

/// y[o, j, i] = the sum, or the product, of x[o, 0 ... j, i]; with reverse of x[o, j ... n - 1, i]. x, y:
/// [outer, n, inner], same dtype, floating or int64; y: contiguous.
ATTUNE_WIDE_KERNEL(cumulate, const Tensor& x, bool product, bool reverse, Tensor& y);

}  // namespace attune
