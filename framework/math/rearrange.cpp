#include "framework/math/rearrange.h"

#include "framework/kernels/copy.h"
#include "framework/math/arithmetic.h"
#include "framework/math/compare.h"
#include "framework/math/create.h"
#include "framework/math/detail/checks.h"
#include "framework/math/detail/parts.h"

namespace attune {
namespace {

void check_tensors(const char* op, std::span<const Tensor> parts) {
  require<ValueError>(!parts.empty(), "{}: no parts given, expected at least one", op);
  for (const Tensor& part : parts) {
    check_defined(op, "part", part);
    check_same_dtype(op, parts.front(), part);
  }
}

// Of the last two axes: columns less rows, [rows, columns].
Tensor diagonals(const char* op, const Tensor& x) {
  check_defined(op, "x", x);
  require<ShapeError>(x.rank() >= 2, "{}: x has shape {}, expected [..., rows, columns]", op, x.shape());
  return arange(x.dim(-1), x.device()) - arange(x.dim(-2), x.device()).unsqueeze(1);
}

}  // namespace

Tensor concat(std::span<const Tensor> parts, int axis) {
  check_tensors("concat", parts);
  Shape shape = parts.front().shape();
  axis = check_axis("concat", shape, axis);
  shape[axis] = 0;
  for (const Tensor& part : parts) {
    Shape rest = part.shape();
    require<ShapeError>(rest.rank() == shape.rank(), "concat: parts {} and {} differ in rank", parts.front().shape(),
                        part.shape());
    rest[axis] = shape[axis];
    require<ShapeError>(rest == shape, "concat: parts {} and {} differ outside axis {}", parts.front().shape(),
                        part.shape(), axis);
    shape[axis] += part.shape()[axis];
  }
  Tensor y = Tensor::empty(shape, parts.front().dtype(), parts.front().device());
  int64_t begin = 0;
  for (const Tensor& part : parts) {
    Tensor to = y.slice(axis, begin, begin + part.shape()[axis]);
    kernels::copy(part, to);
    begin += part.shape()[axis];
  }
  return y;
}

Tensor concat(std::initializer_list<Tensor> parts, int axis) {
  return concat(std::span(parts.begin(), parts.size()), axis);
}

Tensor stack(std::span<const Tensor> parts, int axis) {
  check_tensors("stack", parts);
  Shape shape = parts.front().shape();
  const int at = axis < 0 ? axis + shape.rank() + 1 : axis;
  require<ShapeError>(at >= 0 && at <= shape.rank(), "stack: axis {} is outside {} with one more axis", axis, shape);
  std::vector<Tensor> rows;
  for (const Tensor& part : parts) {
    require<ShapeError>(part.shape() == shape, "stack: parts {} and {} differ in shape", shape, part.shape());
    rows.push_back(part.unsqueeze(at));
  }
  return concat(rows, at);
}

Tensor stack(std::initializer_list<Tensor> parts, int axis) {
  return stack(std::span(parts.begin(), parts.size()), axis);
}

std::vector<Tensor> split(const Tensor& x, std::span<const int64_t> sizes, int axis) {
  check_defined("split", "x", x);
  const PartSizes parts("split", x.shape(), axis, sizes);
  std::vector<Tensor> out;
  for (size_t i = 0; i < parts.count(); ++i) out.push_back(x.slice(parts.axis, parts.begin(i), parts.end(i)));
  return out;
}

std::vector<Tensor> split(const Tensor& x, std::initializer_list<int64_t> sizes, int axis) {
  return split(x, std::span(sizes.begin(), sizes.size()), axis);
}

std::vector<Tensor> split(const Tensor& x, int64_t size, int axis) {
  check_defined("split", "x", x);
  return split(x, sizes_of(x.shape().dim(check_axis("split", x.shape(), axis)), size), axis);
}

std::vector<Tensor> chunk(const Tensor& x, int64_t count, int axis) {
  check_defined("chunk", "x", x);
  return split(x, sizes_of_chunks(x.shape().dim(check_axis("chunk", x.shape(), axis)), count), axis);
}

Tensor flatten(const Tensor& x, int first, int last) {
  check_defined("flatten", "x", x);
  return x.reshape(flattened("flatten", x.shape(), first, last));
}

Tensor flip(const Tensor& x, const Axes& axes) {
  check_defined("flip", "x", x);
  const Reduced turned("flip", x.shape(), axes);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  if (y.numel() == 0) return y;
  Strides strides = x.strides();
  int64_t last = 0;
  for (int axis = 0; axis < x.rank(); ++axis) {
    if ((turned.axes >> axis & 1u) == 0) continue;
    last += (x.shape()[axis] - 1) * strides[axis];
    strides[axis] = -strides[axis];
  }
  kernels::copy(x.as_strided(x.shape(), strides, last), y);
  return y;
}

Tensor tile(const Tensor& x, std::span<const int64_t> repeats) {
  check_defined("tile", "x", x);
  Tensor y = x;
  while (y.rank() < static_cast<int>(repeats.size())) y = y.unsqueeze(0);
  for (size_t i = 0; i < repeats.size(); ++i) {
    const int64_t times = repeats[i];
    require<ValueError>(times >= 0, "tile: {} repeats given, expected 0 or more", times);
    if (times == 1) continue;
    const int axis = y.rank() - static_cast<int>(repeats.size() - i);
    Shape repeated = y.shape();
    repeated.insert(axis, times);
    Shape joined = y.shape();
    joined[axis] *= times;
    y = y.unsqueeze(axis).expand(repeated).reshape(joined);
  }
  return y.storage().get() == x.storage().get() ? y.clone() : y;
}

Tensor tile(const Tensor& x, std::initializer_list<int64_t> repeats) {
  return tile(x, std::span(repeats.begin(), repeats.size()));
}

Tensor pad(const Tensor& x, std::span<const PadWidth> widths, double value) {
  check_defined("pad", "x", x);
  Tensor y = Tensor::full(padded_shape("pad", x.shape(), widths), value, x.dtype(), x.device());
  Tensor middle = y;
  for (int axis = 0; axis < x.rank(); ++axis) {
    const int64_t before = widths[static_cast<size_t>(axis)].first;
    middle = middle.slice(axis, before, before + x.shape()[axis]);
  }
  kernels::copy(x, middle);
  return y;
}

Tensor pad(const Tensor& x, std::initializer_list<PadWidth> widths, double value) {
  return pad(x, std::span(widths.begin(), widths.size()), value);
}

Tensor tril(const Tensor& x, int64_t diagonal) { return where(diagonals("tril", x) <= diagonal, x, 0); }
Tensor triu(const Tensor& x, int64_t diagonal) { return where(diagonals("triu", x) >= diagonal, x, 0); }

}  // namespace attune
