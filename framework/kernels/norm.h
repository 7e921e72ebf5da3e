#pragma once

#include "framework/kernels/kernel.h"
#include "framework/random.h"

namespace attune {

/// Dropout inside a fused kernel: element i of the operand is element i of a draw at `state`.
struct DropoutSpec {
  double probability = 0;
  RandomState state;
};

/// sum = x + dropout(branch); y = (sum - mean - rest) * rstd * gain + shift over the last axis; stats [rows, 3] =
/// {mean, rstd, rest}, rest being what rounding took from the mean. x, branch (optional), sum (undefined without
/// branch), y: [rows, D] contiguous; gain, shift (optional) [D].
ATTUNE_WIDE_KERNEL(add_layer_norm, const Tensor& x, const Tensor& branch, const DropoutSpec& dropout,
                   const Tensor& gain, const Tensor& shift, double eps, Tensor& sum, Tensor& y, Tensor& stats);

/// dsum = gradient of layer norm at `sum` (+ carried, the gradient that reached sum itself, optional); dbranch = dsum
/// through the dropout (optional); dgain, dshift (optional; may be float32 beside bfloat16) are written, or added to
/// when accumulate_*. A row whose dy is exactly 0 adds exactly 0 to all of them, whatever it holds.
ATTUNE_WIDE_KERNEL(add_layer_norm_backward, const Tensor& dy, const Tensor& carried, const Tensor& sum,
                   const Tensor& stats, const Tensor& gain, const DropoutSpec& dropout, Tensor& dsum, Tensor& dbranch,
                   Tensor& dgain, bool accumulate_gain, Tensor& dshift, bool accumulate_shift);

/// y = x * rstd * gain, rstd = 1 / sqrt(mean(x^2) + eps) over the last axis. x, y [rows, D] contiguous, gain [D], rstd
/// [rows].
ATTUNE_WIDE_KERNEL(rms_norm, const Tensor& x, const Tensor& gain, double eps, Tensor& y, Tensor& rstd);

/// dx and dgain (optional; added to when accumulate_gain; may be float32 beside bfloat16) of rms_norm.
ATTUNE_WIDE_KERNEL(rms_norm_backward, const Tensor& dy, const Tensor& x, const Tensor& rstd, const Tensor& gain,
                   Tensor& dx, Tensor& dgain, bool accumulate_gain);

}  // namespace attune
