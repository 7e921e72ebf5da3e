#include "framework/math/arithmetic.h"

#include <algorithm>

#include "framework/kernels/elementwise.h"
#include "framework/kernels/integer.h"
#include "framework/math/compare.h"
#include "framework/math/detail/checks.h"
#include "framework/math/detail/number.h"

namespace attune {
namespace {

using FloatingKernel = Kernel<const Tensor&, const Tensor&, Tensor&>;

// One operation: its kernel for floating dtypes and for int64.
struct Arithmetic {
  const char* name;
  const FloatingKernel& floating;
  IntegerOp integer;

  void check(const Tensor& a, const Tensor& b) const {
    check_number(name, "a", a);
    check_number(name, "b", b);
    check_same_dtype(name, a, b);
  }
  void run(const Tensor& a, const Tensor& b, Tensor& y) const {
    if (y.dtype() == DType::kInt64) {
      if (integer == IntegerOp::kFloorDivide || integer == IntegerOp::kRemainder) check_divisor(b);
      kernels::integer(a, b, integer, y);
    } else {
      floating(a, b, y);
    }
  }
  Tensor operator()(const Tensor& a, const Tensor& b) const {
    check(a, b);
    Tensor y = Tensor::empty(broadcast_shapes(a.shape(), b.shape(), name), a.dtype(), a.device());
    run(a, b, y);
    return y;
  }
  Tensor operator()(const Tensor& a, Scalar b) const {
    check_number(name, "a", a);
    const auto [tensor, number] = beside_number(a, b);
    return (*this)(tensor, number);
  }
  Tensor operator()(Scalar a, const Tensor& b) const {
    check_number(name, "b", b);
    const auto [tensor, number] = beside_number(b, a);
    return (*this)(number, tensor);
  }

 private:
  // Other devices would have to be waited for.
  void check_divisor(const Tensor& b) const {
    if (!b.device().is_cpu()) return;
    const Tensor divisors = b.contiguous();
    const auto* begin = divisors.data<int64_t>();
    const auto* end = begin + divisors.numel();
    const auto* zero = std::find(begin, end, 0);
    require<ValueError>(zero == end,
                        "{}: integer division by 0 at position {} of b {}; replace it with where() or divide as floats",
                        name, index_at(b.shape(), zero - begin), b.shape());
  }
};

constexpr Arithmetic kAdd{"add", kernels::add, IntegerOp::kAdd};
constexpr Arithmetic kSub{"sub", kernels::sub, IntegerOp::kSub};
constexpr Arithmetic kMul{"mul", kernels::mul, IntegerOp::kMul};
constexpr Arithmetic kPow{"pow", kernels::pow, IntegerOp::kPow};
// Of floating dtypes what is divided is a less its remainder.
constexpr Arithmetic kFloorDivide{"floor_divide", kernels::remainder, IntegerOp::kFloorDivide};
constexpr Arithmetic kRemainder{"remainder", kernels::remainder, IntegerOp::kRemainder};

Tensor quotient_operand(const Tensor& x) { return x.dtype() == DType::kInt64 ? x.to(DType::kFloat32) : x; }

Tensor quotient(const Tensor& a, const Tensor& b) {
  check_number("div", "a", a);
  check_number("div", "b", b);
  check_same_dtype("div", a, b);
  const Tensor over = quotient_operand(a);
  const Tensor under = quotient_operand(b);
  Tensor y = Tensor::empty(broadcast_shapes(a.shape(), b.shape(), "div"), over.dtype(), over.device());
  kernels::div(over, under, y);
  return y;
}

// x * factor + offset of a floating x. An offset of -0.0 keeps the sign of zeros.
Tensor scale_shift(const Tensor& x, double factor, double offset) {
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::affine(x, factor, offset, y);
  return y;
}

bool is_floating_tensor(const Tensor& x) { return x.defined() && is_floating(x.dtype()); }

// What is written in place has one place for each element.
void check_in_place(const char* op, const Tensor& a) {
  check_defined(op, "a", a);
  for (int axis = 0; axis < a.rank(); ++axis) {
    require<ValueError>(a.shape()[axis] <= 1 || a.strides()[axis] != 0,
                        "{}: a {} repeats its elements along axis {}; change a clone() instead", op, a.shape(), axis);
  }
}

// b, or a copy where writing to `a` would change elements of it that are still to be read.
Tensor apart_from(const Tensor& a, const Tensor& b) {
  const bool same = a.offset() == b.offset() && a.shape() == b.shape() && a.strides() == b.strides();
  return a.storage().get() == b.storage().get() && !same ? b.clone() : b;
}

void check_result(const char* op, const Tensor& a, const Tensor& b) {
  require<ShapeError>(broadcast_shapes(a.shape(), b.shape(), op) == a.shape(),
                      "{}: b {} does not broadcast to a {}, whose shape stays in place", op, b.shape(), a.shape());
}

Tensor& change(const Arithmetic& arithmetic, Tensor& a, const Tensor& b) {
  check_in_place(arithmetic.name, a);
  arithmetic.check(a, b);
  check_result(arithmetic.name, a, b);
  arithmetic.run(a, apart_from(a, b), a);
  return a;
}

Tensor& change_by_number(const Arithmetic& arithmetic, Tensor& a, Scalar b, double factor, double offset) {
  check_in_place(arithmetic.name, a);
  check_number(arithmetic.name, "a", a);
  if (is_floating(a.dtype())) {
    kernels::affine(a, factor, offset, a);
    return a;
  }
  require<DTypeError>(b.is_integral(), "{}: {} beside a {} gives float32, which a cannot hold; convert a with to()",
                      arithmetic.name, b.number(), a);
  return change(arithmetic, a, number_tensor(b, a.dtype(), a.device()));
}

void check_divides_in_place(const Tensor& a) {
  check_in_place("div", a);
  require<DTypeError>(is_floating(a.dtype()),
                      "div: a is {}, whose quotient is float32, which a cannot hold; use floor_divide() or to()", a);
}

Tensor unary_of(const char* op, const Tensor& x, const Kernel<const Tensor&, Tensor&>& kernel) {
  check_floating(op, "x", x);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernel(x, y);
  return y;
}

Tensor larger_or_smaller(const char* op, const Tensor& a, const Tensor& b, bool minimum) {
  check_defined(op, "a", a);
  check_defined(op, "b", b);
  check_same_dtype(op, a, b);
  const Shape shape = broadcast_shapes(a.shape(), b.shape(), op);
  Tensor first = Tensor::empty(shape, DType::kBool, a.device());
  kernels::prefers_first(a, b, minimum, first);
  Tensor y = Tensor::empty(shape, a.dtype(), a.device());
  kernels::where(first, a, b, y);
  return y;
}

Tensor larger_or_smaller(const char* op, const Tensor& a, Scalar b, bool minimum) {
  check_defined(op, "a", a);
  const auto [tensor, number] = beside_number(a, b);
  return larger_or_smaller(op, tensor, number, minimum);
}

}  // namespace

Tensor operator+(const Tensor& a, const Tensor& b) { return kAdd(a, b); }
Tensor operator+(const Tensor& a, Scalar b) {
  return is_floating_tensor(a) ? scale_shift(a, 1, b.number()) : kAdd(a, b);
}
Tensor operator+(Scalar a, const Tensor& b) { return b + a; }

Tensor operator-(const Tensor& a, const Tensor& b) { return kSub(a, b); }
Tensor operator-(const Tensor& a, Scalar b) {
  return is_floating_tensor(a) ? scale_shift(a, 1, -b.number()) : kSub(a, b);
}
Tensor operator-(Scalar a, const Tensor& b) {
  return is_floating_tensor(b) ? scale_shift(b, -1, a.number()) : kSub(a, b);
}

Tensor operator*(const Tensor& a, const Tensor& b) { return kMul(a, b); }
Tensor operator*(const Tensor& a, Scalar b) {
  return is_floating_tensor(a) ? scale_shift(a, b.number(), -0.0) : kMul(a, b);
}
Tensor operator*(Scalar a, const Tensor& b) { return b * a; }

Tensor operator/(const Tensor& a, const Tensor& b) { return quotient(a, b); }
Tensor operator/(const Tensor& a, Scalar b) {
  check_number("div", "a", a);
  const Tensor over = quotient_operand(a);
  return quotient(over, number_tensor(b, over.dtype(), over.device()));
}
Tensor operator/(Scalar a, const Tensor& b) {
  check_number("div", "b", b);
  const Tensor under = quotient_operand(b);
  return quotient(number_tensor(a, under.dtype(), under.device()), under);
}

Tensor operator-(const Tensor& x) { return is_floating_tensor(x) ? scale_shift(x, -1, -0.0) : kSub(0, x); }

Tensor& operator+=(Tensor& a, const Tensor& b) { return change(kAdd, a, b); }
Tensor& operator+=(Tensor& a, Scalar b) { return change_by_number(kAdd, a, b, 1, b.number()); }
Tensor& operator-=(Tensor& a, const Tensor& b) { return change(kSub, a, b); }
Tensor& operator-=(Tensor& a, Scalar b) { return change_by_number(kSub, a, b, 1, -b.number()); }
Tensor& operator*=(Tensor& a, const Tensor& b) { return change(kMul, a, b); }
Tensor& operator*=(Tensor& a, Scalar b) { return change_by_number(kMul, a, b, b.number(), -0.0); }

Tensor& operator/=(Tensor& a, const Tensor& b) {
  check_divides_in_place(a);
  check_floating("div", "b", b);
  check_same_dtype("div", a, b);
  check_result("div", a, b);
  kernels::div(a, apart_from(a, b), a);
  return a;
}

Tensor& operator/=(Tensor& a, Scalar b) {
  check_divides_in_place(a);
  kernels::div(a, number_tensor(b, a.dtype(), a.device()), a);
  return a;
}

Tensor floor_divide(const Tensor& a, const Tensor& b) {
  const Tensor y = kFloorDivide(a, b);
  // The quotient is whole but for its own rounding; by 0 it is what a / b is.
  return is_floating(y.dtype()) ? where(b == 0, a / b, round((a - y) / b)) : y;
}
Tensor floor_divide(const Tensor& a, Scalar b) {
  check_number("floor_divide", "a", a);
  const auto [tensor, number] = beside_number(a, b);
  return floor_divide(tensor, number);
}
Tensor remainder(const Tensor& a, const Tensor& b) { return kRemainder(a, b); }
Tensor remainder(const Tensor& a, Scalar b) { return kRemainder(a, b); }

Tensor pow(const Tensor& a, const Tensor& b) { return kPow(a, b); }
Tensor pow(const Tensor& a, Scalar b) {
  if (is_floating_tensor(a) && b.number() == 2) return square(a);
  return kPow(a, b);
}
Tensor pow(Scalar a, const Tensor& b) { return kPow(a, b); }

Tensor maximum(const Tensor& a, const Tensor& b) { return larger_or_smaller("maximum", a, b, false); }
Tensor maximum(const Tensor& a, Scalar b) { return larger_or_smaller("maximum", a, b, false); }
Tensor minimum(const Tensor& a, const Tensor& b) { return larger_or_smaller("minimum", a, b, true); }
Tensor minimum(const Tensor& a, Scalar b) { return larger_or_smaller("minimum", a, b, true); }

Tensor clamp(const Tensor& x, Scalar low, Scalar high) {
  check_defined("clamp", "x", x);
  require<ValueError>(low.number() <= high.number(), "clamp: low {} and high {} given, expected low <= high",
                      low.number(), high.number());
  if (!is_floating(x.dtype())) return minimum(maximum(x, low), high);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::clamp(x, low.number(), high.number(), y);
  return y;
}

Tensor lerp(const Tensor& a, const Tensor& b, double weight) {
  check_floating("lerp", "a", a);
  Tensor y = b - a;
  y *= weight;
  return y += a;
}

Tensor abs(const Tensor& x) {
  check_number("abs", "x", x);
  return is_floating(x.dtype()) ? unary_of("abs", x, kernels::abs) : maximum(x, -x);
}

Tensor sign(const Tensor& x) {
  check_number("sign", "x", x);
  if (is_floating(x.dtype())) return unary_of("sign", x, kernels::sign);
  return (x > 0).to(x.dtype()) - (x < 0).to(x.dtype());
}

Tensor square(const Tensor& x) {
  check_number("square", "x", x);
  return is_floating(x.dtype()) ? unary_of("square", x, kernels::square) : x * x;
}

Tensor exp(const Tensor& x) { return unary_of("exp", x, kernels::exp); }
Tensor log(const Tensor& x) { return unary_of("log", x, kernels::log); }
Tensor log1p(const Tensor& x) { return unary_of("log1p", x, kernels::log1p); }
Tensor expm1(const Tensor& x) { return unary_of("expm1", x, kernels::expm1); }
Tensor sqrt(const Tensor& x) { return unary_of("sqrt", x, kernels::sqrt); }
Tensor rsqrt(const Tensor& x) {
  check_floating("rsqrt", "x", x);
  return reciprocal(sqrt(x));
}
Tensor reciprocal(const Tensor& x) { return unary_of("reciprocal", x, kernels::reciprocal); }
Tensor floor(const Tensor& x) { return unary_of("floor", x, kernels::floor); }
Tensor ceil(const Tensor& x) { return unary_of("ceil", x, kernels::ceil); }
Tensor round(const Tensor& x) { return unary_of("round", x, kernels::round); }
Tensor sin(const Tensor& x) { return unary_of("sin", x, kernels::sin); }
Tensor cos(const Tensor& x) { return unary_of("cos", x, kernels::cos); }
Tensor tanh(const Tensor& x) { return unary_of("tanh", x, kernels::tanh); }
Tensor sigmoid(const Tensor& x) { return unary_of("sigmoid", x, kernels::sigmoid); }
Tensor erf(const Tensor& x) { return unary_of("erf", x, kernels::erf); }

}  // namespace attune
