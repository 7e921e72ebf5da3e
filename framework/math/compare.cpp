#include "framework/math/compare.h"

#include <limits>

#include "framework/kernels/compare.h"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/mask.h"
#include "framework/math/arithmetic.h"
#include "framework/math/detail/checks.h"
#include "framework/math/detail/number.h"
#include "framework/math/reduce.h"

namespace attune {
namespace {

Tensor compared(const Tensor& a, const Tensor& b, Comparison comparison) {
  check_defined("compare", "a", a);
  check_defined("compare", "b", b);
  check_same_dtype("compare", a, b);
  Tensor y = Tensor::empty(broadcast_shapes(a.shape(), b.shape(), "compare"), DType::kBool, a.device());
  kernels::compare(a, b, comparison, y);
  return y;
}

// Integers are compared with integers as int64 and with fractions as float64, so that nothing is rounded.
Tensor compared(const Tensor& a, Scalar b, Comparison comparison) {
  check_defined("compare", "a", a);
  if (is_floating(a.dtype())) return compared(a, number_tensor(b, a.dtype(), a.device()), comparison);
  const DType dtype = b.is_integral() ? DType::kInt64 : DType::kFloat64;
  return compared(a.to(dtype), number_tensor(b, dtype, a.device()), comparison);
}

Tensor chosen(const Tensor& condition, const Tensor& a, const Tensor& b) {
  check_bool("where", "condition", condition);
  check_defined("where", "a", a);
  check_defined("where", "b", b);
  check_same_dtype("where", a, b);
  const Shape shape = broadcast_shapes(broadcast_shapes(a.shape(), b.shape(), "where"), condition.shape(), "where");
  Tensor y = Tensor::empty(shape, a.dtype(), a.device());
  kernels::where(condition, a, b, y);
  return y;
}

// a and b as bool tensors of one shape, and room for the result.
struct LogicOperands {
  Tensor a;
  Tensor b;
  Tensor y;

  LogicOperands(const char* op, const Tensor& given_a, const Tensor& given_b) {
    check_bool(op, "a", given_a);
    check_bool(op, "b", given_b);
    const Shape shape = broadcast_shapes(given_a.shape(), given_b.shape(), op);
    a = given_a.expand(shape);
    b = given_b.expand(shape);
    y = Tensor::empty(shape, DType::kBool, given_a.device());
  }
};

constexpr double kUnbounded = std::numeric_limits<double>::infinity();

}  // namespace

Tensor operator==(const Tensor& a, const Tensor& b) { return compared(a, b, Comparison::kEqual); }
Tensor operator==(const Tensor& a, Scalar b) { return compared(a, b, Comparison::kEqual); }
Tensor operator==(Scalar a, const Tensor& b) { return compared(b, a, Comparison::kEqual); }
Tensor operator!=(const Tensor& a, const Tensor& b) { return compared(a, b, Comparison::kNotEqual); }
Tensor operator!=(const Tensor& a, Scalar b) { return compared(a, b, Comparison::kNotEqual); }
Tensor operator!=(Scalar a, const Tensor& b) { return compared(b, a, Comparison::kNotEqual); }
Tensor operator<(const Tensor& a, const Tensor& b) { return compared(a, b, Comparison::kLess); }
Tensor operator<(const Tensor& a, Scalar b) { return compared(a, b, Comparison::kLess); }
Tensor operator<(Scalar a, const Tensor& b) { return compared(b, a, Comparison::kGreater); }
Tensor operator<=(const Tensor& a, const Tensor& b) { return compared(a, b, Comparison::kLessEqual); }
Tensor operator<=(const Tensor& a, Scalar b) { return compared(a, b, Comparison::kLessEqual); }
Tensor operator<=(Scalar a, const Tensor& b) { return compared(b, a, Comparison::kGreaterEqual); }
Tensor operator>(const Tensor& a, const Tensor& b) { return compared(a, b, Comparison::kGreater); }
Tensor operator>(const Tensor& a, Scalar b) { return compared(a, b, Comparison::kGreater); }
Tensor operator>(Scalar a, const Tensor& b) { return compared(b, a, Comparison::kLess); }
Tensor operator>=(const Tensor& a, const Tensor& b) { return compared(a, b, Comparison::kGreaterEqual); }
Tensor operator>=(const Tensor& a, Scalar b) { return compared(a, b, Comparison::kGreaterEqual); }
Tensor operator>=(Scalar a, const Tensor& b) { return compared(b, a, Comparison::kLessEqual); }

Tensor logical_and(const Tensor& a, const Tensor& b) {
  LogicOperands operands("logical_and", a, b);
  kernels::logical_and(operands.a, operands.b, operands.y);
  return operands.y;
}

Tensor logical_or(const Tensor& a, const Tensor& b) {
  LogicOperands operands("logical_or", a, b);
  kernels::logical_or(operands.a, operands.b, operands.y);
  return operands.y;
}

Tensor logical_not(const Tensor& x) {
  check_bool("logical_not", "x", x);
  Tensor y = Tensor::empty(x.shape(), DType::kBool, x.device());
  kernels::logical_not(x, y);
  return y;
}

Tensor isnan(const Tensor& x) {
  check_floating("isnan", "x", x);
  return x != x;
}

Tensor isinf(const Tensor& x) {
  check_floating("isinf", "x", x);
  return abs(x) == kUnbounded;
}

Tensor isfinite(const Tensor& x) {
  check_floating("isfinite", "x", x);
  return abs(x) < kUnbounded;
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) { return chosen(condition, a, b); }

Tensor where(const Tensor& condition, const Tensor& a, Scalar b) {
  check_defined("where", "a", a);
  const auto [tensor, number] = beside_number(a, b);
  return chosen(condition, tensor, number);
}

Tensor where(const Tensor& condition, Scalar a, const Tensor& b) {
  check_defined("where", "b", b);
  const auto [tensor, number] = beside_number(b, a);
  return chosen(condition, number, tensor);
}

Tensor where(const Tensor& condition, Scalar a, Scalar b) {
  check_bool("where", "condition", condition);
  const DType dtype = a.is_integral() && b.is_integral() ? DType::kInt64 : DType::kFloat32;
  return chosen(condition, number_tensor(a, dtype, condition.device()), number_tensor(b, dtype, condition.device()));
}

bool allclose(const Tensor& a, const Tensor& b, const AllcloseOptions& options) {
  check_defined("allclose", "a", a);
  check_defined("allclose", "b", b);
  check_same_dtype("allclose", a, b);
  const Tensor x = a.to(DType::kFloat64);
  const Tensor y = b.to(DType::kFloat64);
  // An infinity is close to itself alone: the difference of two is NaN, and the bound of one is infinite.
  Tensor close = (isfinite(y) & (abs(x - y) <= options.atol + options.rtol * abs(y))) | (x == y);
  if (options.equal_nan) close = close | (isnan(x) & isnan(y));
  return all(close).item() != 0;
}

}  // namespace attune
