#include "autograd/ops/checks.h"

#include "framework/kernels/index.h"
#include "framework/kernels/reduce.h"

namespace attune {

void check_operand(const char* op, const char* name, const Variable& x) {
  require<ValueError>(x.defined(), "{}: operand {} is undefined", op, name);
  require<DTypeError>(is_floating(x.dtype()), "{}: operand {} is {}, expected a floating dtype", op, name, x.value());
}

Tensor check_indices(const char* op, const char* what, const Tensor& indices, int64_t bound) {
  require<DTypeError>(indices.defined() && indices.dtype() == DType::kInt64, "{}: {} is {}, expected int64", op, what,
                      indices);
  Tensor out = indices.contiguous();
  int64_t position = -1;
  kernels::find_outside(out, bound, position);
  if (position < 0) return out;
  Shape index = out.shape();
  int64_t rest = position;
  for (int axis = out.rank() - 1; axis >= 0; --axis) {
    index[axis] = rest % out.shape()[axis];
    rest /= out.shape()[axis];
  }
  const Tensor value = out.view({out.numel()}).slice(0, position, position + 1);
  fail<ValueError>("{}: {} {} at position {} of {} is outside 0 ... {}", op, what, value.to_vector<int64_t>().front(),
                   index, out.shape(), bound - 1);
}

int check_axis(const char* op, const Shape& shape, int axis) {
  require<ShapeError>(axis >= -shape.rank() && axis < shape.rank(), "{}: axis {} is outside shape {} of rank {}", op,
                      axis, shape, shape.rank());
  return shape.axis(axis);
}

Tensor reduce_to(Tensor x, const Shape& shape) {
  if (x.shape() == shape) return x;
  Tensor out = Tensor::empty(shape, x.dtype(), x.device());
  kernels::sum_to(x, out);
  return out;
}

Tensor around_axis(const Tensor& x, int axis) {
  Shape shape{1, x.shape()[axis], 1};
  for (int i = 0; i < axis; ++i) shape[0] *= x.shape()[i];
  for (int i = axis + 1; i < x.rank(); ++i) shape[2] *= x.shape()[i];
  return x.reshape(shape);
}

}  // namespace attune
