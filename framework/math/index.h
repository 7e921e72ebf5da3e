#pragma once

#include "framework/tensor.h"

namespace attune {

// By index. Indices are int64, on any device; negative ones count from the end of the axis. Throws ValueError for one
// outside, naming its position. Any dtype, unless said otherwise.

/// y[..., i, ...] = x[..., indices[i], ...]; indices [n].
Tensor index_select(const Tensor& x, int axis, const Tensor& indices);
/// y[..., i, ...] = x[..., indices[..., i, ...], ...]; indices: shape of x except along `axis`.
Tensor gather(const Tensor& x, int axis, const Tensor& indices);
/// x, but y[..., indices[..., i, ...], ...] = source[..., i, ...]; of repeated indices the last one stays. indices,
/// source: shape of x except along `axis`.
Tensor scatter(const Tensor& x, int axis, const Tensor& indices, const Tensor& source);
/// x + what source has for each place; repeated indices add up. Floating dtypes and int64.
Tensor scatter_add(const Tensor& x, int axis, const Tensor& indices, const Tensor& source);

}  // namespace attune
