#include "framework/kernels/index.h"

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/math/compare.h"
#include "framework/math/create.h"
#include "framework/math/index.h"

namespace attune {
namespace {

// Which of the elements that were scattered stayed: of repeated indices the last one.
Tensor stayed(const Shape& shape, int axis, const Tensor& index) {
  Shape along;
  for (int i = 0; i < index.rank(); ++i) along.push_back(i == axis ? index.dim(i) : 1);
  const Tensor place = arange(index.dim(axis), index.device()).view(along).expand(index.shape());
  const Tensor last = scatter(Tensor::zeros(shape, DType::kInt64, index.device()), axis, index, place.contiguous());
  return gather(last, axis, index) == place;
}

void check_scatter(const char* op, const Variable& x, const Variable& source) {
  check_operand(op, "x", x);
  check_operand(op, "source", source);
  check_same_dtype(op, x, "x", source, "source");
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
  check_scatter("scatter", x, source);
  axis = check_axis("scatter", x.shape(), axis);
  Tensor y = scatter(x.value(), axis, indices, source.value());
  const Tensor index = indices.to(x.device());
  return Tape::current().record("scatter", std::move(y), {&x, &source}, [index = SavedTensor(index), axis](Grads& g) {
    const Tensor& dy = g.dy();
    if (g.needs(0)) {
      g.add(0, scatter(dy, axis, index.get(), Tensor::zeros(index.get().shape(), dy.dtype(), dy.device())));
    }
    if (g.needs(1)) {
      const Tensor at = wrap_indices("scatter", index.get(), dy.dim(axis));
      g.add(1, where(stayed(dy.shape(), axis, at), gather(dy, axis, at), 0));
    }
  });
}

Variable scatter_add(const Variable& x, int axis, const Tensor& indices, const Variable& source) {
  check_scatter("scatter_add", x, source);
  axis = check_axis("scatter_add", x.shape(), axis);
  Tensor y = scatter_add(x.value(), axis, indices, source.value());
  const Tensor index = indices.to(x.device());
  return Tape::current().record("scatter_add", std::move(y), {&x, &source},
                                [index = SavedTensor(index), axis](Grads& g) {
                                  if (g.needs(1)) g.add(1, gather(g.dy(), axis, index.get()));
                                  if (g.needs(0)) g.add(0, g.take_dy());
                                });
}

}  // namespace attune
