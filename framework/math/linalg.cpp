#include "framework/math/linalg.h"

#include "framework/kernels/gemm.h"
#include "framework/math/detail/checks.h"
#include "framework/math/detail/einsum.h"
#include "framework/math/reduce.h"

namespace attune {
namespace {

// x with the leading axes of `shape` and its own last two.
Tensor with_leading_axes(const Tensor& x, Shape shape) {
  shape[shape.rank() - 2] = x.dim(-2);
  shape[shape.rank() - 1] = x.dim(-1);
  return x.expand(shape);
}

Shape leading_axes(const Tensor& x) {
  Shape shape = x.shape();
  shape[shape.rank() - 2] = 1;
  shape[shape.rank() - 1] = 1;
  return shape;
}

struct TensorEinsum {
  static Tensor sum(const Tensor& x, const std::vector<int>& axes) { return attune::sum(x, axes); }
  static Tensor matrices(const Tensor& x, const std::vector<int>& axes, const Shape& shape) {
    return x.permute(axes).reshape(shape);
  }
  static Tensor product(const Tensor& a, const Tensor& b) { return matmul(a, b); }
  static Tensor restore(const Tensor& y, const Shape& shape, const std::vector<int>& axes) {
    return y.view(shape).permute(axes).contiguous();
  }
};

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  check_floating("matmul", "a", a);
  check_floating("matmul", "b", b);
  check_same_dtype("matmul", a, b);
  require<ShapeError>(a.rank() >= 1 && b.rank() >= 1, "matmul: shapes {} and {} need at least one axis", a.shape(),
                      b.shape());
  const Tensor left = a.rank() == 1 ? a.unsqueeze(0) : a;
  const Tensor right = b.rank() == 1 ? b.unsqueeze(1) : b;
  require<ShapeError>(left.dim(-1) == right.dim(-2),
                      "matmul: a {} has {} columns and b {} has {} rows; they must be equal", a.shape(), left.dim(-1),
                      b.shape(), right.dim(-2));
  Shape shape = broadcast_shapes(leading_axes(left), leading_axes(right), "matmul");
  shape[shape.rank() - 2] = left.dim(-2);
  shape[shape.rank() - 1] = right.dim(-1);
  Tensor y = Tensor::empty(shape, a.dtype(), a.device());
  kernels::matmul(with_leading_axes(left, shape), with_leading_axes(right, shape), MatmulOptions{}, y);
  if (b.rank() == 1) y = y.squeeze(-1);
  return a.rank() == 1 ? y.squeeze(b.rank() == 1 ? -1 : -2) : y;
}

Tensor einsum(std::string_view equation, const Tensor& a, const Tensor& b) {
  check_floating("einsum", "a", a);
  check_floating("einsum", "b", b);
  check_same_dtype("einsum", a, b);
  return run_einsum(EinsumPlan(equation, a.shape(), b.shape()), a, b, TensorEinsum{});
}

}  // namespace attune
