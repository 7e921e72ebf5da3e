#include "framework/kernels/index.h"

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/math/compare.h"
#include "framework/math/create.h"

namespace attune {
namespace {

// By indices that were checked before, so that no device is waited for in backward.

Tensor taken_along(const Tensor& x, int axis, const Tensor& index) {
  Tensor y = Tensor::empty(index.shape(), x.dtype(), x.device());
  Tensor out = around_axis(y, axis);
  if (y.numel() > 0) kernels::take_along(around_axis(x, axis), around_axis(index, axis), out);
  return y;
}

Tensor put_along(const Tensor& x, int axis, const Tensor& index, const Tensor& source) {
  Tensor y = x.clone();
  Tensor out = around_axis(y, axis);
  if (index.numel() > 0) kernels::put_along(around_axis(source, axis), around_axis(index, axis), out);
  return y;
}

// Which of the elements that were scattered stayed: of repeated indices the last one.
Tensor stayed(const Shape& shape, int axis, const Tensor& index) {
  Shape along;
  for (int i = 0; i < index.rank(); ++i) along.push_back(i == axis ? index.dim(i) : 1);
  const Tensor place = arange(index.dim(axis), index.device()).view(along).expand(index.shape()).contiguous();
  const Tensor last = put_along(Tensor::zeros(shape, DType::kInt64, index.device()), axis, index, place);
  return taken_along(last, axis, index) == place;
}

// The indices of a scatter, checked and on x's device.
Tensor check_scatter(const char* op, const Variable& x, int axis, const Tensor& indices, const Variable& source) {
  check_operand(op, "x", x);
  check_operand(op, "source", source);
  check_same_dtype(op, x, "x", source, "source");
  axis = check_axis(op, x.shape(), axis);
  Shape rest = indices.shape();
  if (rest.rank() == x.rank()) rest[axis] = x.shape()[axis];
  require<ShapeError>(rest == x.shape(), "{}: indices {} differ from x {} outside axis {}", op, indices.shape(),
                      x.shape(), axis);
  require<ShapeError>(source.shape() == indices.shape(), "{}: source {} and indices {} differ in shape", op,
                      source.shape(), indices.shape());
  return wrap_indices(op, indices, x.shape()[axis]).to(x.device());
}

}  // namespace

Variable index_select(const Variable& x, int axis, const Tensor& indices) {
  check_operand("index_select", "x", x);
  axis = check_axis("index_select", x.shape(), axis);
  require<ShapeError>(indices.rank() == 1, "index_select: indices have shape {}, expected [n]", indices.shape());
  const Tensor index = wrap_indices("index_select", indices, x.shape()[axis]).to(x.device());
  Shape shape = x.shape();
  shape[axis] = index.numel();
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  Tensor rows = around_axis(y, axis);
  kernels::take_rows(around_axis(x.value(), axis), index, 1, rows);
  return Tape::current().record("index_select", std::move(y), {&x}, [index = SavedTensor(index), axis](Grads& g) {
    Tensor dx = around_axis(g.accumulator(0), axis);
    kernels::add_rows(around_axis(g.dy(), axis), index.get(), 1, -1, dx);
  });
}

Variable gather(const Variable& x, int axis, const Tensor& indices) {
  check_operand("gather", "x", x);
  axis = check_axis("gather", x.shape(), axis);
  Shape rest = indices.shape();
  if (rest.rank() == x.rank()) rest[axis] = x.shape()[axis];
  require<ShapeError>(rest == x.shape(), "gather: indices {} differ from x {} outside axis {}", indices.shape(),
                      x.shape(), axis);
  const Tensor index = wrap_indices("gather", indices, x.shape()[axis]).to(x.device());
  Tensor y = Tensor::empty(index.shape(), x.dtype(), x.device());
  Tensor out = around_axis(y, axis);
  kernels::take_along(around_axis(x.value(), axis), around_axis(index, axis), out);
  return Tape::current().record("gather", std::move(y), {&x}, [index = SavedTensor(index), axis](Grads& g) {
    Tensor dx = around_axis(g.accumulator(0), axis);
    kernels::add_along(around_axis(g.dy(), axis), around_axis(index.get(), axis), dx);
  });
}

Variable scatter(const Variable& x, int axis, const Tensor& indices, const Variable& source) {
  const Tensor index = check_scatter("scatter", x, axis, indices, source);
  axis = x.shape().axis(axis);
  Tensor y = put_along(x.value(), axis, index, source.value().contiguous());
  return Tape::current().record("scatter", std::move(y), {&x, &source}, [index = SavedTensor(index), axis](Grads& g) {
    const Tensor& dy = g.dy();
    const Tensor& at = index.get();
    if (g.needs(0)) g.add(0, put_along(dy, axis, at, Tensor::zeros(at.shape(), dy.dtype(), dy.device())));
    if (g.needs(1)) g.add(1, where(stayed(dy.shape(), axis, at), taken_along(dy, axis, at), 0));
  });
}

Variable scatter_add(const Variable& x, int axis, const Tensor& indices, const Variable& source) {
  const Tensor index = check_scatter("scatter_add", x, axis, indices, source);
  axis = x.shape().axis(axis);
  Tensor y = x.value().clone();
  Tensor sums = around_axis(y, axis);
  if (index.numel() > 0) {
    kernels::add_along(around_axis(source.value().contiguous(), axis), around_axis(index, axis), sums);
  }
  return Tape::current().record("scatter_add", std::move(y), {&x, &source},
                                [index = SavedTensor(index), axis](Grads& g) {
                                  if (g.needs(1)) g.add(1, taken_along(g.dy(), axis, index.get()));
                                  if (g.needs(0)) g.add(0, g.take_dy());
                                });
}

}  // namespace attune
