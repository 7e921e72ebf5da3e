#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

/// values[r], indices[r] (int64) = the k largest of row r and where they are, largest first, the first of equals first;
/// NaN counts as largest. x: [rows, n], values, indices: [rows, k], contiguous; 0 <= k <= n.
ATTUNE_KERNEL(top_k, const Tensor& x, Tensor& values, Tensor& indices);

/// indices[r] (int64) = the places of row r in the order of their elements, the first of equals first; NaN counts as
/// largest. x: [rows, n], floating or int64; indices: [rows, n]; both contiguous.
ATTUNE_WIDE_KERNEL(argsort, const Tensor& x, bool descending, Tensor& indices);

/// y[r] = log sum_j exp(scale x[r, j]), scale > 0; NaN for rows that hold NaN or +infinity or nothing but -infinity.
/// x: [rows, n], y: [rows], contiguous. y is of x's dtype, or float64, which x less y is precise with for large x too.
ATTUNE_KERNEL(log_sum_exp, const Tensor& x, double scale, Tensor& y);

}  // namespace attune
