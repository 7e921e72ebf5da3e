#pragma once

#include "framework/math/scalar.h"
#include "framework/tensor.h"

namespace attune {

// Elementwise arithmetic. Operands are broadcast by NumPy's rule and are of one dtype, on one device: others are errors
// that say what to convert. Floating dtypes and int64; int64 wraps around at 2^63. Results are new, contiguous tensors
// on the device of the operands.

Tensor operator+(const Tensor& a, const Tensor& b);
Tensor operator+(const Tensor& a, Scalar b);
Tensor operator+(Scalar a, const Tensor& b);
Tensor operator-(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& a, Scalar b);
Tensor operator-(Scalar a, const Tensor& b);
Tensor operator*(const Tensor& a, const Tensor& b);
Tensor operator*(const Tensor& a, Scalar b);
Tensor operator*(Scalar a, const Tensor& b);
/// True division: of int64 it gives float32, as in PyTorch.
Tensor operator/(const Tensor& a, const Tensor& b);
Tensor operator/(const Tensor& a, Scalar b);
Tensor operator/(Scalar a, const Tensor& b);
Tensor operator-(const Tensor& x);

// In place: the shape of `a` stays, b is broadcast to it. Throws DTypeError where the result has another dtype than a.

Tensor& operator+=(Tensor& a, const Tensor& b);
Tensor& operator+=(Tensor& a, Scalar b);
Tensor& operator-=(Tensor& a, const Tensor& b);
Tensor& operator-=(Tensor& a, Scalar b);
Tensor& operator*=(Tensor& a, const Tensor& b);
Tensor& operator*=(Tensor& a, Scalar b);
Tensor& operator/=(Tensor& a, const Tensor& b);
Tensor& operator/=(Tensor& a, Scalar b);

/// a / b rounded down, and what is left of a, with the sign of b (Python's // and %). Throws ValueError for an integer
/// divided by 0 on the CPU, naming its position; on other devices, which nobody waits for, the result is 0 there.
Tensor floor_divide(const Tensor& a, const Tensor& b);
Tensor floor_divide(const Tensor& a, Scalar b);
Tensor remainder(const Tensor& a, const Tensor& b);
Tensor remainder(const Tensor& a, Scalar b);

/// a^b. int64: a negative exponent gives what is left of 1 / a^-b without its fraction.
Tensor pow(const Tensor& a, const Tensor& b);
Tensor pow(const Tensor& a, Scalar b);
Tensor pow(Scalar a, const Tensor& b);

/// The larger, and the smaller, of both; NaN where one is. Any dtype.
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor maximum(const Tensor& a, Scalar b);
Tensor minimum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, Scalar b);
/// x limited to [low, high]; NaN stays. Throws ValueError unless low <= high.
Tensor clamp(const Tensor& x, Scalar low, Scalar high);
/// a + weight (b - a)
Tensor lerp(const Tensor& a, const Tensor& b, double weight);

Tensor abs(const Tensor& x);
Tensor sign(const Tensor& x);  ///< -1, 0 or 1; NaN stays
Tensor square(const Tensor& x);

// Of floating dtypes.

Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor log1p(const Tensor& x);  ///< log(1 + x), precise for small x
Tensor expm1(const Tensor& x);  ///< exp(x) - 1, precise for small x
Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);  ///< 1 / sqrt(x)
Tensor reciprocal(const Tensor& x);
Tensor floor(const Tensor& x);
Tensor ceil(const Tensor& x);
Tensor round(const Tensor& x);  ///< halves to the even neighbour
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor erf(const Tensor& x);

}  // namespace attune
