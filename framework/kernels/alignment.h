#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

/// The expected monotonic alignment by its recurrence: y(t, s) = p(t, s) q(t, s), q(t, s) = (1 - p(t, s - 1))
/// q(t, s - 1) + y(t - 1, s), y(-1) = previous. Keys with keep = false count as p = 0 whatever p holds; a query without
/// a key has y = 0 and is left out of the recurrence. last = y of the last query with a key, previous when there is
/// none. p, y [rows, T, S], keep bool [rows, T, S], previous, last [rows, S]; all contiguous.
ATTUNE_WIDE_KERNEL(monotonic_alignment, const Tensor& p, const Tensor& previous, const Tensor& keep, Tensor& y,
                   Tensor& last);

/// dy or dlast may be undefined: 0. dp is exactly 0 where keep is false, whatever dy holds there. dp, dprevious:
/// written.
ATTUNE_WIDE_KERNEL(monotonic_alignment_backward, const Tensor& p, const Tensor& previous, const Tensor& keep,
                   const Tensor& y, const Tensor& dy, const Tensor& dlast, Tensor& dp, Tensor& dprevious);

}  // namespace attune
