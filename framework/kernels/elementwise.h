#pragma once

#include "framework/kernels/kernel.h"

/// Name and formula (framework/kernels/functors.h, functors_activation.h) of every unary kernel.
#define ATTUNE_UNARY_KERNELS(X) \
  X(exp, Exp)                   \
  X(log, Log)                   \
  X(log1p, Log1p)               \
  X(expm1, Expm1)               \
  X(sqrt, Sqrt)                 \
  X(square, Square)             \
  X(reciprocal, Reciprocal)     \
  X(abs, Abs)                   \
  X(sin, Sin)                   \
  X(cos, Cos)                   \
  X(erf, Erf)                   \
  X(tanh, Tanh)                 \
  X(sigmoid, Sigmoid)           \
  X(softplus, Softplus)         \
  X(relu, Relu)                 \
  X(silu, Silu)                 \
  X(gelu, Gelu)                 \
  X(gelu_tanh, GeluTanh)        \
  X(mish, Mish)                 \
  X(hard_sigmoid, HardSigmoid)  \
  X(hard_swish, HardSwish)      \
  X(softsign, Softsign)

/// Name and formula of unary kernels that take two numbers, which the formula names; some use the first alone.
#define ATTUNE_PARAMETRIC_KERNELS(X) \
  X(clamp, Clamp)                    \
  X(elu, Elu)                        \
  X(leaky_relu, LeakyRelu)           \
  X(swish, Swish)                    \
  X(huber, Huber)

/// Name and formula of every unary kernel whose derivative is 0.
#define ATTUNE_STEP_KERNELS(X) \
  X(floor, Floor)              \
  X(ceil, Ceil)                \
  X(round, Round)              \
  X(sign, Sign)

/// Name and formula of every binary kernel.
#define ATTUNE_BINARY_KERNELS(X) \
  X(add, Add)                    \
  X(sub, Sub)                    \
  X(mul, Mul)                    \
  X(div, Div)                    \
  X(pow, Pow)                    \
  X(remainder, Remainder)        \
  X(chain_mul, ChainMul)         \
  X(chain_div, ChainDiv)

namespace attune {

// Operands are broadcast to the shape of the last argument, the result. Any strides, one floating dtype (bfloat16 is
// computed in float32); the result may be an operand of its own shape and strides. In every *_backward a gradient dy of
// exactly 0 gives exactly 0, whatever the other operand holds there.

/// NAME: y = f(x). NAME_backward: dx = dy f', from `saved`, which is x or y as functors.h says.
#define ATTUNE_DECLARE_UNARY(NAME, FORMULA)        \
  ATTUNE_KERNEL(NAME, const Tensor& x, Tensor& y); \
  ATTUNE_KERNEL(NAME##_backward, const Tensor& saved, const Tensor& dy, Tensor& dx);
ATTUNE_UNARY_KERNELS(ATTUNE_DECLARE_UNARY)
#undef ATTUNE_DECLARE_UNARY

/// The same with the formula's numbers. clamp(x, low, high, y): NaN stays.
#define ATTUNE_DECLARE_PARAMETRIC(NAME, FORMULA)                                \
  ATTUNE_KERNEL(NAME, const Tensor& x, double first, double second, Tensor& y); \
  ATTUNE_KERNEL(NAME##_backward, const Tensor& saved, const Tensor& dy, double first, double second, Tensor& dx);
ATTUNE_PARAMETRIC_KERNELS(ATTUNE_DECLARE_PARAMETRIC)
#undef ATTUNE_DECLARE_PARAMETRIC

/// y = f(x)
#define ATTUNE_DECLARE_STEP(NAME, FORMULA) ATTUNE_KERNEL(NAME, const Tensor& x, Tensor& y);
ATTUNE_STEP_KERNELS(ATTUNE_DECLARE_STEP)
#undef ATTUNE_DECLARE_STEP

/// y = f(a, b)
#define ATTUNE_DECLARE_BINARY(NAME, FORMULA) ATTUNE_KERNEL(NAME, const Tensor& a, const Tensor& b, Tensor& y);
ATTUNE_BINARY_KERNELS(ATTUNE_DECLARE_BINARY)
#undef ATTUNE_DECLARE_BINARY

/// y = x * factor + offset
ATTUNE_KERNEL(affine, const Tensor& x, double factor, double offset, Tensor& y);

/// y = a where condition (bool), b elsewhere. An undefined a or b stands for 0. Any dtype.
ATTUNE_KERNEL(where, const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y);

/// first (bool) = a >= b, or a is NaN: where maximum(a, b) is a. With minimum = true the same for the minimum. Any
/// dtype.
ATTUNE_KERNEL(prefers_first, const Tensor& a, const Tensor& b, bool minimum, Tensor& first);

}  // namespace attune
