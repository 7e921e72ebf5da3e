#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

// Indices are int64, contiguous and validated by the caller.

/// y[o, i, :] = scale * x[o, indices[i], :]. x: [outer, n, inner], any strides; indices: [m]; y: [outer, m, inner],
/// contiguous. Any dtype; scale is for floating ones.
ATTUNE_WIDE_KERNEL(take_rows, const Tensor& x, const Tensor& indices, double scale, Tensor& y);

/// dx[o, indices[i], :] += scale * dy[o, i, :], but for indices[i] == skip; repeated indices add up, in the order of i.
/// dy: [outer, m, inner]; dx: [outer, n, inner]; both contiguous.
ATTUNE_WIDE_KERNEL(add_rows, const Tensor& dy, const Tensor& indices, double scale, int64_t skip, Tensor& dx);

/// y[o, i, k] = x[o, indices[o, i, k], k]. x: [outer, n, inner], any strides; indices, y: [outer, m, inner],
/// contiguous. Any dtype.
ATTUNE_WIDE_KERNEL(take_along, const Tensor& x, const Tensor& indices, Tensor& y);

/// dx[o, indices[o, i, k], k] += dy[o, i, k]. dy: [outer, m, inner]; dx: [outer, n, inner]; both contiguous, floating
/// or int64.
ATTUNE_WIDE_KERNEL(add_along, const Tensor& dy, const Tensor& indices, Tensor& dx);

/// y[o, indices[o, i, k], k] = x[o, i, k]; of repeated indices the last one stays. x: [outer, m, inner]; y:
/// [outer, n, inner]; both contiguous, of one dtype, any.
ATTUNE_KERNEL(put_along, const Tensor& x, const Tensor& indices, Tensor& y);

/// position = first i with indices[i] outside 0 ... bound - 1, -1 when there is none.
ATTUNE_WIDE_KERNEL(find_outside, const Tensor& indices, int64_t bound, int64_t& position);

}  // namespace attune
