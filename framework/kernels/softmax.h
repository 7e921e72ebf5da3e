#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

/// y = softmax(x) over the last axis. x, y: [rows, n], contiguous, same floating dtype; y may be x.
ATTUNE_WIDE_KERNEL(softmax, const Tensor& x, Tensor& y);

/// Softmax over elements with keep (bool [rows, n], contiguous) and above -infinity; 0 elsewhere, and in rows without.
ATTUNE_WIDE_KERNEL(masked_softmax, const Tensor& x, const Tensor& keep, Tensor& y);

/// dx = y (dy - sum(dy y)), exactly 0 where y is 0, whatever dy holds there. Serves softmax and masked_softmax. dx may
/// be dy.
ATTUNE_WIDE_KERNEL(softmax_backward, const Tensor& y, const Tensor& dy, Tensor& dx);

/// y = x - log(sum(exp(x))) over the last axis.
ATTUNE_WIDE_KERNEL(log_softmax, const Tensor& x, Tensor& y);

/// dx = dy - exp(y) sum(dy). dx may be dy.
ATTUNE_WIDE_KERNEL(log_softmax_backward, const Tensor& y, const Tensor& dy, Tensor& dx);

}  // namespace attune
