#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

/// y(t, s) = sum over a of v(a) tanh(q(t, a) + k(s, a)) without [T, S, A] in memory. q [B, H, T, A], k [B, H, S, A],
/// v [H, A], y [B, H, T, S]; all contiguous.
ATTUNE_WIDE_KERNEL(additive_scores, const Tensor& q, const Tensor& k, const Tensor& v, Tensor& y);

/// Gradients by computing tanh again. A dy of exactly 0 contributes exactly 0, whatever q and k hold there. dq, dk, dv:
/// contiguous; written, but dk added to with accumulate.
ATTUNE_WIDE_KERNEL(additive_scores_backward, const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v,
                   Tensor& dq, Tensor& dk, bool accumulate, Tensor& dv);

}  // namespace attune
