#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

/// y(t) = sum over s of weights(t, s) v(s), for few queries: nothing is packed, keys of weight 0 are not read. Query
/// head h reads value head h / (H / Hkv). weights [B, H, T, S], v [B, S, Hkv, K], y [B, T, H, K]; all contiguous.
ATTUNE_WIDE_KERNEL(weighted_sum, const Tensor& weights, const Tensor& v, Tensor& y);

/// dweights, dv: optional, contiguous; dweights is written, dv written or, with accumulate, added to. Where dy or, for
/// dv, a weight is exactly 0, the other factor contributes nothing, NaN or not.
ATTUNE_WIDE_KERNEL(weighted_sum_backward, const Tensor& dy, const Tensor& weights, const Tensor& v, Tensor& dweights,
                   Tensor& dv, bool accumulate);

}  // namespace attune
