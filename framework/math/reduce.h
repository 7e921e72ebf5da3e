#pragma once

#include "framework/math/axes.h"
#include "framework/tensor.h"

namespace attune {

// Reductions. No axes: all of them. `keep`: reduced axes stay with extent 1. Long sums are taken in blocks, so that
// float32 sums of millions are exact to the last places. Of bool, sums are counts (int64). What has no value for an
// empty axis throws ShapeError there.

Tensor sum(const Tensor& x, const Axes& axes = {}, bool keep = false);
/// Of floating dtypes.
Tensor mean(const Tensor& x, const Axes& axes = {}, bool keep = false);
/// Product; 1 of nothing.
Tensor prod(const Tensor& x, const Axes& axes = {}, bool keep = false);
/// Largest and smallest element; NaN where there is one.
Tensor max(const Tensor& x, const Axes& axes = {}, bool keep = false);
Tensor min(const Tensor& x, const Axes& axes = {}, bool keep = false);
/// Where the first largest, or smallest, element of an axis is (int64); without an axis in row-major order of all.
Tensor argmax(const Tensor& x, int axis, bool keep = false);
Tensor argmax(const Tensor& x);
Tensor argmin(const Tensor& x, int axis, bool keep = false);
Tensor argmin(const Tensor& x);

/// Mean square distance from the mean, divided by count - correction: 1 is Bessel's correction (PyTorch's default), 0
/// NumPy's default.
Tensor var(const Tensor& x, const Axes& axes = {}, bool keep = false, int64_t correction = 1);
/// Its square root, the standard deviation.
Tensor stddev(const Tensor& x, const Axes& axes = {}, bool keep = false, int64_t correction = 1);
/// Square root of the sum of squares.
Tensor norm(const Tensor& x, const Axes& axes = {}, bool keep = false);
/// log(sum(exp(x))) without overflow; -infinity where every element is.
Tensor logsumexp(const Tensor& x, const Axes& axes = {}, bool keep = false);
/// log(sum(exp(x / temperature))) over the last axis, the logarithm of what softmax divides by: float64 for every dtype
/// of x, so that its difference from large x is precise. NaN where softmax is: of NaN, of +infinity, of nothing but
/// -infinity. Throws ValueError for a temperature that is not above 0.
Tensor log_normalizer(const Tensor& x, double temperature = 1);

/// Whether all, or any, elements of a bool tensor are true.
Tensor all(const Tensor& x, const Axes& axes = {}, bool keep = false);
Tensor any(const Tensor& x, const Axes& axes = {}, bool keep = false);
/// How many elements are not 0 (int64).
Tensor count_nonzero(const Tensor& x, const Axes& axes = {}, bool keep = false);

/// Sums, and products, of the elements of an axis up to each, that one included. Of bool: counts.
Tensor cumsum(const Tensor& x, int axis);
Tensor cumprod(const Tensor& x, int axis);

}  // namespace attune
