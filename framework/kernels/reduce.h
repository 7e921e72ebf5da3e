#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

// x: any strides. Long sums are taken in blocks, so that their error grows with the root of the length at most; they
// are the same for every run with as many threads.

/// y = sum of x over the axes along which y has extent 1 or which y, aligned at the last axis, has not: the reverse of
/// broadcasting. y: contiguous, floating dtype of x.
ATTUNE_WIDE_KERNEL(sum_to, const Tensor& x, Tensor& y);

/// y[b] = mean of x[b, 0 ... lengths[b] - 1], 0 where that is empty. x: [B, T, D]; lengths: int64 [B], contiguous,
/// within 0 ... T; y: [B, D], contiguous.
ATTUNE_WIDE_KERNEL(masked_mean, const Tensor& x, const Tensor& lengths, Tensor& y);

/// dx[b, t] = dy[b] / lengths[b] for t < lengths[b], 0 behind. dx: [B, T, D], contiguous.
ATTUNE_WIDE_KERNEL(masked_mean_backward, const Tensor& dy, const Tensor& lengths, Tensor& dx);

}  // namespace attune
