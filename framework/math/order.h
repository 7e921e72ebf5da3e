#pragma once

#include "framework/tensor.h"

namespace attune {

/// Elements of an axis in some order, and where they were (int64).
struct Ordered {
  Tensor values;
  Tensor indices;
};

/// The k largest elements of an axis, largest first, or the k smallest; of equals the first comes first. NaN counts as
/// largest. Floating dtypes and int64. Throws ValueError unless 0 <= k <= the axis's extent.
Ordered topk(const Tensor& x, int64_t k, int axis = -1, bool largest = true);
/// The elements of an axis in ascending order. Equal ones keep their order; NaN counts as largest.
Ordered sort(const Tensor& x, int axis = -1, bool descending = false);
/// Where those elements were.
Tensor argsort(const Tensor& x, int axis = -1, bool descending = false);

}  // namespace attune
