// The formulas of the elementwise ops and their derivatives, written once. T is float or double (host and CUDA), or a
// vector that reads like a number (framework/kernels/cpu/lanes.h, included before this file by vector code, which
// compiles it once per instruction set). Branch-free: select(condition, a, b) takes both.
//
// A unary op has forward(x) and derivative(saved), where `saved` is x or y = forward(x), as its comment says.

#if defined(ATTUNE_FRAMEWORK_KERNELS_FUNCTORS_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ATTUNE_FRAMEWORK_KERNELS_FUNCTORS_H_
#undef ATTUNE_FRAMEWORK_KERNELS_FUNCTORS_H_
#else
#define ATTUNE_FRAMEWORK_KERNELS_FUNCTORS_H_
#endif

#include <cmath>

#undef ATTUNE_HD
#ifdef HWY_BEFORE_NAMESPACE
#define ATTUNE_HD HWY_INLINE
HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
#elif defined(__CUDACC__)
#define ATTUNE_HD __host__ __device__ __forceinline__
namespace attune::cuda {
#else
#define ATTUNE_HD inline
namespace attune {
#endif
namespace functors {

using std::abs;
using std::ceil;
using std::cos;
using std::erf;
using std::erfc;
using std::exp;
using std::expm1;
using std::floor;
using std::fmod;
using std::log;
using std::log1p;
using std::pow;
using std::rint;
using std::sin;
using std::sqrt;
using std::tanh;

template <class T>
ATTUNE_HD T select(bool condition, T a, T b) {
  return condition ? a : b;
}

template <class T>
ATTUNE_HD T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}

/// Distribution function of the standard normal distribution.
template <class T>
ATTUNE_HD T normal_cdf(T x) {
  return T(0.5) * erfc(x * T(-0.70710678118654752440));
}

/// Numbers that an op takes besides its operands.
struct Parameters {
  double first = 0;
  double second = 0;
};

/// Gradient of an operand: dy times a derivative, and 0 where dy is 0, so that what never mattered (NaN in padding)
/// stays out of gradients.
template <class T>
ATTUNE_HD T chain(T dy, T derivative) {
  return select(dy == T(0), T(0), dy * derivative);
}

// Unary.

struct Affine {  // derivative of x
  double factor, offset;
  explicit Affine(Parameters p) : factor(p.first), offset(p.second) {}
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return x * T(factor) + T(offset);
  }
};

struct Exp {  // of y
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return exp(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T y) const {
    return y;
  }
};

struct Log {  // of x
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return log(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return T(1) / x;
  }
};

struct Log1p {  // of x
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return log1p(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return T(1) / (T(1) + x);
  }
};

struct Expm1 {  // of y
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return expm1(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T y) const {
    return y + T(1);
  }
};

struct Sqrt {  // of y
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return sqrt(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T y) const {
    return T(0.5) / y;
  }
};

struct Square {  // of x
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return x * x;
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return x + x;
  }
};

struct Reciprocal {  // of y
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return T(1) / x;
  }
  template <class T>
  ATTUNE_HD T derivative(T y) const {
    return -(y * y);
  }
};

struct Abs {  // of x
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return abs(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return select(x > T(0), T(1), select(x < T(0), T(-1), T(0)));
  }
};

struct Sin {  // of x
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return sin(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return cos(x);
  }
};

struct Cos {  // of x
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return cos(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return -sin(x);
  }
};

struct Erf {  // of x: 2 / sqrt(pi) exp(-x^2)
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return erf(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return T(1.12837916709551257390) * exp(-(x * x));
  }
};

struct Tanh {  // of y
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return tanh(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T y) const {
    return T(1) - y * y;
  }
};

struct Sigmoid {  // of y
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return sigmoid(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T y) const {
    return y * (T(1) - y);
  }
};

struct Softplus {  // of x: log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return select(x > T(0), x, T(0)) + log1p(exp(-abs(x)));
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return sigmoid(x);
  }
};

struct Relu {  // of y; NaN stays NaN
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return select(x < T(0), T(0), x);
  }
  template <class T>
  ATTUNE_HD T derivative(T y) const {
    return select(y > T(0), T(1), T(0));
  }
};

struct Silu {  // of x
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return x * sigmoid(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    const T s = sigmoid(x);
    return s + x * s * (T(1) - s);
  }
};

struct Gelu {  // of x: (x Phi(x))' = Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi)
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return x * normal_cdf(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return normal_cdf(x) + x * exp(x * x * T(-0.5)) * T(0.39894228040143267794);
  }
};

struct GeluTanh {  // of x: x / 2 (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return x * gate(x);
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    // s is exactly 0 or 1 long before the bounds, behind which x^2 would overflow. NaN stays.
    const T z = select(x > T(kSaturated), T(kSaturated), select(x < T(-kSaturated), T(-kSaturated), x));
    const T s = gate(z);
    return s + z * s * (T(1) - s) * (T(kSlope) + z * z * T(3 * 0.044715 * kSlope));
  }

 private:
  static constexpr double kSlope = 1.59576912160573071176;  // 2 sqrt(2 / pi)
  static constexpr double kSaturated = 100;
  template <class T>
  ATTUNE_HD static T gate(T x) {
    return sigmoid(x * (T(kSlope) + x * x * T(0.044715 * kSlope)));
  }
};

struct Clamp {  // of x; NaN stays NaN
  double low, high;
  explicit Clamp(Parameters p) : low(p.first), high(p.second) {}
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return select(x < T(low), T(low), select(x > T(high), T(high), x));
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return select(x >= T(low) && x <= T(high), T(1), T(0));
  }
};

// Unary with derivative 0.

struct Floor {
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return floor(x);
  }
};

struct Ceil {
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return ceil(x);
  }
};

struct Round {  // halves to even
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return rint(x);
  }
};

struct Sign {  // 0 stays, NaN stays
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return select(x > T(0), T(1), select(x < T(0), T(-1), x));
  }
};

// Binary.

struct Add {
  template <class T>
  ATTUNE_HD T forward(T a, T b) const {
    return a + b;
  }
};

struct Sub {
  template <class T>
  ATTUNE_HD T forward(T a, T b) const {
    return a - b;
  }
};

struct Mul {
  template <class T>
  ATTUNE_HD T forward(T a, T b) const {
    return a * b;
  }
};

struct Div {
  template <class T>
  ATTUNE_HD T forward(T a, T b) const {
    return a / b;
  }
};

struct Pow {
  template <class T>
  ATTUNE_HD T forward(T a, T b) const {
    return pow(a, b);
  }
};

struct Remainder {  // with the sign of b
  template <class T>
  ATTUNE_HD T forward(T a, T b) const {
    const T r = fmod(a, b);
    return select((r < T(0) && b > T(0)) || (r > T(0) && b < T(0)), r + b, r);
  }
};

struct ChainMul {  // gradient of a in a b
  template <class T>
  ATTUNE_HD T forward(T dy, T b) const {
    return chain(dy, b);
  }
};

struct ChainDiv {  // gradient of a in a / b
  template <class T>
  ATTUNE_HD T forward(T dy, T b) const {
    return select(dy == T(0), T(0), dy / b);
  }
};

}  // namespace functors
#ifdef HWY_BEFORE_NAMESPACE
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#elif defined(__CUDACC__)
}  // namespace attune::cuda
#else
}  // namespace attune
#endif

#endif
