#include "framework/math/index.h"

#include "framework/kernels/index.h"
#include "framework/math/detail/checks.h"

namespace attune {
namespace {

void check_along(const char* op, const char* name, const Tensor& indices, const Shape& shape, int axis) {
  Shape rest = indices.shape();
  if (rest.rank() == shape.rank()) rest[axis] = shape[axis];
  require<ShapeError>(rest == shape, "{}: {} {} differ from x {} outside axis {}", op, name, indices.shape(), shape,
                      axis);
}

// x changed along an axis by `kernel`, around which everything is laid.
template <class ChangeKernel>
Tensor changed_along(const char* op, const Tensor& x, int axis, const Tensor& indices, const Tensor& source,
                     const ChangeKernel& kernel) {
  check_defined(op, "x", x);
  check_defined(op, "source", source);
  axis = check_axis(op, x.shape(), axis);
  check_along(op, "indices", indices, x.shape(), axis);
  require<ShapeError>(source.shape() == indices.shape(), "{}: source {} and indices {} differ in shape", op,
                      source.shape(), indices.shape());
  check_same_dtype(op, x, source);
  const Tensor index = wrap_indices(op, indices, x.shape()[axis]).to(x.device());
  Tensor y = x.clone();
  Tensor out = around_axis(y, axis);
  if (index.numel() > 0) kernel(around_axis(source.contiguous(), axis), around_axis(index, axis), out);
  return y;
}

}  // namespace

Tensor index_select(const Tensor& x, int axis, const Tensor& indices) {
  check_defined("index_select", "x", x);
  axis = check_axis("index_select", x.shape(), axis);
  require<ShapeError>(indices.rank() == 1, "index_select: indices have shape {}, expected [n]", indices.shape());
  const Tensor index = wrap_indices("index_select", indices, x.shape()[axis]).to(x.device());
  Shape shape = x.shape();
  shape[axis] = index.numel();
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  Tensor rows = around_axis(y, axis);
  kernels::take_rows(around_axis(x, axis), index, 1, rows);
  return y;
}

Tensor gather(const Tensor& x, int axis, const Tensor& indices) {
  check_defined("gather", "x", x);
  axis = check_axis("gather", x.shape(), axis);
  check_along("gather", "indices", indices, x.shape(), axis);
  const Tensor index = wrap_indices("gather", indices, x.shape()[axis]).to(x.device());
  Tensor y = Tensor::empty(index.shape(), x.dtype(), x.device());
  Tensor out = around_axis(y, axis);
  if (y.numel() > 0) kernels::take_along(around_axis(x, axis), around_axis(index, axis), out);
  return y;
}

Tensor scatter(const Tensor& x, int axis, const Tensor& indices, const Tensor& source) {
  return changed_along("scatter", x, axis, indices, source, kernels::put_along);
}

Tensor scatter_add(const Tensor& x, int axis, const Tensor& indices, const Tensor& source) {
  check_number("scatter_add", "x", x);
  return changed_along("scatter_add", x, axis, indices, source, kernels::add_along);
}

}  // namespace attune
