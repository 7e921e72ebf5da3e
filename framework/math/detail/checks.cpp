#include "framework/math/detail/checks.h"

#include "framework/kernels/index.h"
#include "framework/math/arithmetic.h"
#include "framework/math/compare.h"

namespace attune {

int check_axis(const char* op, const Shape& shape, int axis) {
  require<ShapeError>(axis >= -shape.rank() && axis < shape.rank(), "{}: axis {} is outside shape {} of rank {}", op,
                      axis, shape, shape.rank());
  return shape.axis(axis);
}

unsigned check_axes(const char* op, const Shape& shape, const Axes& axes) {
  unsigned chosen = 0;
  for (const int axis : axes) {
    const unsigned bit = 1u << check_axis(op, shape, axis);
    require<ShapeError>((chosen & bit) == 0, "{}: axis {} of shape {} is given twice", op, axis, shape);
    chosen |= bit;
  }
  return chosen;
}

Shape index_at(const Shape& shape, int64_t position) {
  Shape index = shape;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    index[axis] = position % shape[axis];
    position /= shape[axis];
  }
  return index;
}

namespace {

// Position of the first index outside 0 ... bound - 1, -1 without one.
int64_t first_outside(const Tensor& indices, int64_t bound) {
  int64_t position = -1;
  kernels::find_outside(indices, bound, position);
  return position;
}

void check_index_dtype(const char* op, const char* what, const Tensor& indices) {
  require<DTypeError>(indices.defined() && indices.dtype() == DType::kInt64, "{}: {} is {}, expected int64", op, what,
                      indices);
}

[[noreturn]] void fail_outside(const char* op, const char* what, const Tensor& indices, int64_t position, int64_t least,
                               int64_t most) {
  const Tensor value = indices.view({indices.numel()}).slice(0, position, position + 1);
  fail<ValueError>("{}: {} {} at position {} of {} is outside {} ... {}", op, what, value.to_vector<int64_t>().front(),
                   index_at(indices.shape(), position), indices.shape(), least, most);
}

}  // namespace

Tensor check_indices(const char* op, const char* what, const Tensor& indices, int64_t bound) {
  check_index_dtype(op, what, indices);
  Tensor out = indices.contiguous();
  const int64_t position = first_outside(out, bound);
  if (position >= 0) fail_outside(op, what, out, position, 0, bound - 1);
  return out;
}

Tensor wrap_indices(const char* op, const Tensor& indices, int64_t bound) {
  check_index_dtype(op, "index", indices);
  const Tensor given = indices.contiguous();
  if (first_outside(given, bound) < 0) return given;
  const Tensor wrapped = where(given < 0, given + bound, given);
  const int64_t position = first_outside(wrapped, bound);
  if (position >= 0) fail_outside(op, "index", given, position, -bound, bound - 1);
  return wrapped;
}

Tensor around_axis(const Tensor& x, int axis) {
  Shape shape{1, x.shape()[axis], 1};
  for (int i = 0; i < axis; ++i) shape[0] *= x.shape()[i];
  for (int i = axis + 1; i < x.rank(); ++i) shape[2] *= x.shape()[i];
  return x.reshape(shape);
}

void check_defined(const char* op, const char* name, const Tensor& x) {
  require<ValueError>(x.defined(), "{}: operand {} is undefined", op, name);
}

void check_floating(const char* op, const char* name, const Tensor& x) {
  check_defined(op, name, x);
  require<DTypeError>(is_floating(x.dtype()),
                      "{}: operand {} is {}, expected a floating dtype; convert it with to(DType::kFloat32)", op, name,
                      x);
}

void check_number(const char* op, const char* name, const Tensor& x) {
  check_defined(op, name, x);
  require<DTypeError>(is_floating(x.dtype()) || x.dtype() == DType::kInt64,
                      "{}: operand {} is {}, expected a floating dtype or int64; convert it with to(DType::kInt64)", op,
                      name, x);
}

void check_bool(const char* op, const char* name, const Tensor& x) {
  check_defined(op, name, x);
  require<DTypeError>(x.dtype() == DType::kBool, "{}: operand {} is {}, expected bool; compare it, as in x != 0", op,
                      name, x);
}

void check_same_dtype(const char* op, const Tensor& a, const Tensor& b) {
  require<DTypeError>(a.dtype() == b.dtype(), "{}: a is {} and b is {}; convert one with to(DType)", op, a, b);
}

Reduced::Reduced(const char* op, const Shape& given, const Axes& given_axes) : shape(given), kept(given) {
  axes = given_axes.empty() ? (1u << given.rank()) - 1 : check_axes(op, given, given_axes);
  for (int axis = 0; axis < given.rank(); ++axis) {
    if ((axes >> axis & 1u) != 0) {
      kept[axis] = 1;
      count *= given[axis];
    } else {
      dropped.push_back(given[axis]);
    }
  }
  const unsigned runs = axes & ~(axes << 1);  // axes with which a run of them begins
  neighbours = (runs & (runs - 1)) == 0;
}

void Reduced::require_elements(const char* op, const char* what) const {
  require<ShapeError>(count > 0 || dropped.numel() == 0, "{}: shape {} has nothing along the reduced axes, and no {}",
                      op, shape, what);
}

void Reduced::require_variance(const char* op, int64_t correction) const {
  require<ValueError>(count > correction || dropped.numel() == 0,
                      "{}: {} elements of shape {} have no variance with correction {}; expected more than that", op,
                      count, shape, correction);
}

Axes Reduced::order() const {
  std::vector<int> places;
  for (const bool reduced : {false, true}) {
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (((axes >> axis & 1u) != 0) == reduced) places.push_back(axis);
    }
  }
  return places;
}

Tensor Reduced::grouped(const Tensor& x) const {
  if (!neighbours) return x.permute(order()).reshape({dropped.numel(), count, 1});
  Shape groups{1, count, 1};
  bool behind = axes == 0;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const bool reduced = (axes >> axis & 1u) != 0;
    behind = behind || reduced;
    if (!reduced) groups[behind ? 2 : 0] *= shape[axis];
  }
  return x.reshape(groups);
}

Tensor Reduced::ungrouped(const Tensor& groups) const {
  if (neighbours) return groups.view(shape);
  std::array<int, Shape::kMaxRank> inverse{};
  Shape permuted;
  for (const int axis : order()) {
    inverse[static_cast<size_t>(axis)] = permuted.rank();
    permuted.push_back(shape[axis]);
  }
  return groups.view(permuted).permute(std::span(inverse.data(), static_cast<size_t>(shape.rank())));
}

}  // namespace attune
