#include "autograd/ops/checks.h"

#include "framework/kernels/elementwise.h"
#include "framework/kernels/reduce.h"

namespace attune {

void check_operand(const char* op, const char* name, const Variable& x) {
  require<ValueError>(x.defined(), "{}: operand {} is undefined", op, name);
  require<DTypeError>(is_floating(x.dtype()), "{}: operand {} is {}, expected a floating dtype", op, name, x.value());
}

Tensor reduce_to(Tensor x, const Shape& shape) {
  if (x.shape() == shape) return x;
  Tensor out = Tensor::empty(shape, x.dtype(), x.device());
  kernels::sum_to(x, out);
  return out;
}

Tensor chained(const Tensor& dy, const Tensor& derivative) {
  Tensor dx = Tensor::empty_like(dy);
  kernels::chain_mul(dy, derivative, dx);
  return dx;
}

}  // namespace attune
