#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

// x, y, dy, dx [rows, C], contiguous; statistics by column.

/// stats [4, C] = mean, 1 / sqrt(variance + eps), biased variance of every column, and what rounding took from the
/// mean: x - stats[0] - stats[3] is right where the mean is large beside the deviations. At least one row.
ATTUNE_WIDE_KERNEL(batch_statistics, const Tensor& x, double eps, Tensor& stats);

/// y = (x - mean) rstd gain + shift. stats as batch_statistics leaves them; gain, shift [C].
ATTUNE_WIDE_KERNEL(batch_norm, const Tensor& x, const Tensor& stats, const Tensor& gain, const Tensor& shift,
                   Tensor& y);

/// dgain [C] and dshift [C] are written, and dx, the gradient through the statistics included (optional).
ATTUNE_WIDE_KERNEL(batch_norm_backward, const Tensor& dy, const Tensor& x, const Tensor& stats, const Tensor& gain,
                   Tensor& dx, Tensor& dgain, Tensor& dshift);

}  // namespace attune
