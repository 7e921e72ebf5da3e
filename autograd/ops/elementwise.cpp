#include "framework/kernels/elementwise.h"

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/unary.h"
#include "autograd/tape.h"
#include "framework/kernels/accumulate.h"
#include "framework/kernels/copy.h"
#include "framework/math/arithmetic.h"
#include "framework/math/compare.h"

namespace attune {
namespace {

// y = forward(a, b), broadcast.
template <class Forward>
Tensor binary(const char* name, const Variable& a, const Variable& b, const Forward& forward) {
  check_operand(name, "a", a);
  check_operand(name, "b", b);
  check_same_dtype(name, a, "a", b, "b");
  Tensor y = Tensor::empty(broadcast_shapes(a.shape(), b.shape(), name), a.dtype(), a.device());
  forward(a.value(), b.value(), y);
  return y;
}

template <class Formula>
Tensor combine(const Formula& formula, const Tensor& dy, const Tensor& other) {
  Tensor out = Tensor::empty_like(dy);
  formula(dy, other, out);
  return out;
}

Tensor negative(const Tensor& x) {
  Tensor out = Tensor::empty_like(x);
  kernels::affine(x, -1, 0, out);
  return out;
}

// y = a where `first`, b elsewhere: each gets dy where it was taken, 0 elsewhere.
Variable choose(const char* name, Tensor first, const Variable& a, const Variable& b) {
  const Shape shape = broadcast_shapes(broadcast_shapes(a.shape(), b.shape(), name), first.shape(), name);
  Tensor y = Tensor::empty(shape, a.dtype(), a.device());
  kernels::where(first, a.value(), b.value(), y);
  return Tape::current().record(
      name, std::move(y), {&a, &b},
      [first = SavedTensor(std::move(first)), a_shape = a.shape(), b_shape = b.shape()](Grads& g) {
        if (g.needs(0)) {
          Tensor da = Tensor::empty_like(g.dy());
          kernels::where(first.get(), g.dy(), Tensor(), da);
          g.add(0, reduce_to(std::move(da), a_shape));
        }
        if (g.needs(1)) {
          Tensor db = Tensor::empty_like(g.dy());
          kernels::where(first.get(), Tensor(), g.dy(), db);
          g.add(1, reduce_to(std::move(db), b_shape));
        }
      });
}

Variable extreme(const char* name, const Variable& a, const Variable& b, bool minimum) {
  check_operand(name, "a", a);
  check_operand(name, "b", b);
  check_same_dtype(name, a, "a", b, "b");
  Tensor first = Tensor::empty(broadcast_shapes(a.shape(), b.shape(), name), DType::kBool, a.device());
  kernels::prefers_first(a.value(), b.value(), minimum, first);
  return choose(name, std::move(first), a, b);
}

}  // namespace

Variable add(const Variable& a, const Variable& b) {
  return Tape::current().record("add", binary("add", a, b, kernels::add), {&a, &b},
                                [a_shape = a.shape(), b_shape = b.shape()](Grads& g) {
                                  Tensor dy = g.take_dy();
                                  if (g.needs(0)) g.add(0, reduce_to(dy, a_shape));
                                  if (g.needs(1)) g.add(1, reduce_to(std::move(dy), b_shape));
                                });
}

Variable sub(const Variable& a, const Variable& b) {
  return Tape::current().record("sub", binary("sub", a, b, kernels::sub), {&a, &b},
                                [a_shape = a.shape(), b_shape = b.shape()](Grads& g) {
                                  Tensor dy = g.take_dy();
                                  if (g.needs(1)) g.add(1, negative(reduce_to(dy, b_shape)));
                                  if (g.needs(0)) g.add(0, reduce_to(std::move(dy), a_shape));
                                });
}

Variable mul(const Variable& a, const Variable& b) {
  Tensor y = binary("mul", a, b, kernels::mul);
  return Tape::current().record("mul", std::move(y), {&a, &b},
                                [a = SavedTensor(a.value()), b = SavedTensor(b.value())](Grads& g) {
                                  // y = a b, da = dy b, db = dy a
                                  if (g.needs(0))
                                    g.add(0, reduce_to(combine(kernels::chain_mul, g.dy(), b.get()), a.get().shape()));
                                  if (g.needs(1))
                                    g.add(1, reduce_to(combine(kernels::chain_mul, g.dy(), a.get()), b.get().shape()));
                                });
}

Variable div(const Variable& a, const Variable& b) {
  Tensor y = binary("div", a, b, kernels::div);
  const SavedTensor kept(y);
  return Tape::current().record(
      "div", std::move(y), {&a, &b}, [a_shape = a.shape(), b = SavedTensor(b.value()), kept](Grads& g) {
        // y = a / b, da = dy / b, db = -da y
        const Tensor da = combine(kernels::chain_div, g.dy(), b.get());
        if (g.needs(1)) g.add(1, negative(reduce_to(combine(kernels::chain_mul, da, kept.get()), b.get().shape())));
        if (g.needs(0)) g.add(0, reduce_to(da, a_shape));
      });
}

Variable maximum(const Variable& a, const Variable& b) { return extreme("maximum", a, b, false); }
Variable minimum(const Variable& a, const Variable& b) { return extreme("minimum", a, b, true); }

Variable where(const Tensor& condition, const Variable& a, const Variable& b) {
  require<DTypeError>(condition.defined() && condition.dtype() == DType::kBool,
                      "where: the condition is {}, expected bool", condition);
  check_operand("where", "a", a);
  check_operand("where", "b", b);
  check_same_dtype("where", a, "a", b, "b");
  return choose("where", condition.to(a.device()), a, b);
}

Variable where(const Tensor& condition, const Variable& a, double b) {
  check_operand("where", "a", a);
  return where(condition, a, Variable(Tensor::full({}, b, a.dtype(), a.device())));
}

Variable where(const Tensor& condition, double a, const Variable& b) {
  check_operand("where", "b", b);
  return where(condition, Variable(Tensor::full({}, a, b.dtype(), b.device())), b);
}

Variable pow(const Variable& x, double exponent) {
  check_operand("pow", "x", x);
  return Tape::current().record("pow", pow(x.value(), exponent), {&x},
                                [kept = SavedTensor(x.value()), exponent](Grads& g) {
                                  // y = x^p, dx = dy p x^(p - 1), which is 0 for p = 0 at x = 0 too
                                  if (exponent == 0) return g.add(0, Tensor::zeros_like(g.dy()));
                                  g.add(0, chained(g.dy(), pow(kept.get(), exponent - 1) * exponent));
                                });
}

Variable pow(const Variable& base, const Variable& exponent) {
  Tensor y = binary("pow", base, exponent, kernels::pow);
  const SavedTensor kept(y);
  return Tape::current().record("pow", std::move(y), {&base, &exponent},
                                [a = SavedTensor(base.value()), b = SavedTensor(exponent.value()), kept](Grads& g) {
                                  // y = a^b, da = dy b a^(b - 1), db = dy y log(a)
                                  if (g.needs(0)) {
                                    const Tensor slope = where(b.get() == 0, 0, b.get() * pow(a.get(), b.get() - 1));
                                    g.add(0, reduce_to(chained(g.dy(), slope), a.get().shape()));
                                  }
                                  if (g.needs(1)) {
                                    const Tensor slope = where(a.get() == 0, 0, kept.get() * log(a.get()));
                                    g.add(1, reduce_to(chained(g.dy(), slope), b.get().shape()));
                                  }
                                });
}

Variable affine(const Variable& x, double factor, double offset) {
  check_operand("affine", "x", x);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::affine(x.value(), factor, offset, y);
  return Tape::current().record("affine", std::move(y), {&x}, [factor](Grads& g) {
    if (factor == 1) {
      g.add(0, g.take_dy());
    } else {
      add_in_place(g, [&](const Tensor& dy, Tensor& dx) { kernels::affine(dy, factor, 0, dx); });
    }
  });
}

Variable exp(const Variable& x) { return unary("exp", x, Keeps::kOutput, kernels::exp, kernels::exp_backward); }
Variable log(const Variable& x) { return unary("log", x, Keeps::kInput, kernels::log, kernels::log_backward); }
Variable log1p(const Variable& x) { return unary("log1p", x, Keeps::kInput, kernels::log1p, kernels::log1p_backward); }
Variable expm1(const Variable& x) { return unary("expm1", x, Keeps::kOutput, kernels::expm1, kernels::expm1_backward); }
Variable sqrt(const Variable& x) { return unary("sqrt", x, Keeps::kOutput, kernels::sqrt, kernels::sqrt_backward); }
Variable rsqrt(const Variable& x) {
  check_operand("rsqrt", "x", x);
  return reciprocal(sqrt(x));
}
Variable square(const Variable& x) {
  return unary("square", x, Keeps::kInput, kernels::square, kernels::square_backward);
}
Variable reciprocal(const Variable& x) {
  return unary("reciprocal", x, Keeps::kOutput, kernels::reciprocal, kernels::reciprocal_backward);
}
Variable abs(const Variable& x) { return unary("abs", x, Keeps::kInput, kernels::abs, kernels::abs_backward); }
Variable sin(const Variable& x) { return unary("sin", x, Keeps::kInput, kernels::sin, kernels::sin_backward); }
Variable cos(const Variable& x) { return unary("cos", x, Keeps::kInput, kernels::cos, kernels::cos_backward); }
Variable tanh(const Variable& x) { return unary("tanh", x, Keeps::kOutput, kernels::tanh, kernels::tanh_backward); }
Variable erf(const Variable& x) { return unary("erf", x, Keeps::kInput, kernels::erf, kernels::erf_backward); }
Variable sigmoid(const Variable& x) {
  return unary("sigmoid", x, Keeps::kOutput, kernels::sigmoid, kernels::sigmoid_backward);
}

Variable clamp(const Variable& x, double low, double high) {
  require<ValueError>(low <= high, "clamp: low {} and high {} given, expected low <= high", low, high);
  return unary("clamp", x, Keeps::kInput, kernels::clamp, kernels::clamp_backward, low, high);
}

Variable cast(const Variable& x, DType dtype) {
  check_operand("cast", "x", x);
  require<DTypeError>(is_floating(dtype), "cast: {} asked for, expected a floating dtype", dtype_name(dtype));
  if (dtype == x.dtype()) return x;
  return Tape::current().record("cast", x.value_as(dtype), {&x}, [dtype = x.dtype()](Grads& g) {
    GradTarget dx = g.target(0);
    if (dx.accumulate) {
      kernels::accumulate(g.dy().to(dtype), dx.tensor);
    } else {
      kernels::copy(g.dy(), dx.tensor);
    }
  });
}

Variable parameter_for(const Variable& x, const Variable& parameter) {
  return is_rounded_for(x, parameter) ? cast(parameter, DType::kBFloat16) : parameter;
}

Variable to_device(const Variable& x, Device device) {
  check_operand("to_device", "x", x);
  if (device == x.device()) return x;
  return Tape::current().record("to_device", x.value().to(device), {&x},
                                [device = x.device()](Grads& g) { g.add(0, g.dy().to(device)); });
}

}  // namespace attune
