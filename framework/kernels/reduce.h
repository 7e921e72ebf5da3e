#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

// x: any strides. Long sums are taken in blocks, so that their error grows with the root of the length at most; they
// are the same for every run with as many threads.

/// y = sum of x over the axes along which y has extent 1 or which y, aligned at the last axis, has not: the reverse of
/// broadcasting. y: contiguous, floating dtype of x.
ATTUNE_WIDE_KERNEL(sum_to, const Tensor& x, Tensor& y);

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

/// y[b] = mean of x[b, 0 ... lengths[b] - 1], 0 where that is empty. x: [B, T, D]; lengths: int64 [B], contiguous,
/// within 0 ... T; y: [B, D], contiguous.
ATTUNE_WIDE_KERNEL(masked_mean, const Tensor& x, const Tensor& lengths, Tensor& y);

/// dx[b, t] = dy[b] / lengths[b] for t < lengths[b], 0 behind. dx: [B, T, D], contiguous.
ATTUNE_WIDE_KERNEL(masked_mean_backward, const Tensor& dy, const Tensor& lengths, Tensor& dx);

}  // namespace attune
