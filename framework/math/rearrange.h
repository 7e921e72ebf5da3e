#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "framework/math/axes.h"
#include "framework/tensor.h"

namespace attune {

// Other arrangements of the same elements, of any dtype.

Tensor concat(std::span<const Tensor> parts, int axis = 0);
Tensor concat(std::initializer_list<Tensor> parts, int axis = 0);
/// Joins along a new axis.
Tensor stack(std::span<const Tensor> parts, int axis = 0);
Tensor stack(std::initializer_list<Tensor> parts, int axis = 0);

/// Views of `size` elements of an axis each, the last one of what is left.
std::vector<Tensor> split(const Tensor& x, int64_t size, int axis = 0);
/// Views of sizes[i] elements each, which together are the axis.
std::vector<Tensor> split(const Tensor& x, std::span<const int64_t> sizes, int axis = 0);
std::vector<Tensor> split(const Tensor& x, std::initializer_list<int64_t> sizes, int axis = 0);
/// At most `count` views of equal size, the last one of what is left (PyTorch's rule: 5 in 4 are 2, 2, 1).
std::vector<Tensor> chunk(const Tensor& x, int64_t count, int axis = 0);

/// Axes first ... last as one. A view where strides allow.
Tensor flatten(const Tensor& x, int first = 0, int last = -1);
/// The axes turned around, all without any. A copy.
Tensor flip(const Tensor& x, const Axes& axes = {});
/// x repeated repeats[i] times along axis i; missing repeats in front are 1, and so are missing axes (NumPy's tile).
Tensor tile(const Tensor& x, std::span<const int64_t> repeats);
Tensor tile(const Tensor& x, std::initializer_list<int64_t> repeats);

/// How many elements stand before and behind those of one axis.
using PadWidth = std::pair<int64_t, int64_t>;

/// x amid `value`: one pair for each axis, in their order (NumPy's pad).
Tensor pad(const Tensor& x, std::span<const PadWidth> widths, double value = 0);
Tensor pad(const Tensor& x, std::initializer_list<PadWidth> widths, double value = 0);

/// x [..., rows, columns] with 0 above, or below, a diagonal: 0 is the main one, 1 the one above it.
Tensor tril(const Tensor& x, int64_t diagonal = 0);
Tensor triu(const Tensor& x, int64_t diagonal = 0);

}  // namespace attune
