// Vector mathematics, compiled once per instruction set. A kernel file reads
//
//     #include "framework/kernels/softmax.h"
//
//     #undef HWY_TARGET_INCLUDE
//     #define HWY_TARGET_INCLUDE "framework/kernels/cpu/softmax.cpp"
//     #include <hwy/foreach_target.h>
//
//     #include "framework/kernels/cpu/simd.h"
//
//     HWY_BEFORE_NAMESPACE();
//     namespace attune::cpu::HWY_NAMESPACE { ... }
//     HWY_AFTER_NAMESPACE();
//
//     #if HWY_ONCE
//     namespace attune::cpu { HWY_EXPORT(...); ... HWY_DYNAMIC_DISPATCH(...)(...); }
//     #endif
//
// <hwy/foreach_target.h> stands in angle brackets so that sorting the includes keeps it first.

#if defined(ATTUNE_FRAMEWORK_KERNELS_CPU_SIMD_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ATTUNE_FRAMEWORK_KERNELS_CPU_SIMD_H_
#undef ATTUNE_FRAMEWORK_KERNELS_CPU_SIMD_H_
#else
#define ATTUNE_FRAMEWORK_KERNELS_CPU_SIMD_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstdint>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// p[0 ... n - 1], zero in the other lanes; reads nothing else. n <= Lanes(d).
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> LoadTail(D d, const T* p, size_t n) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN T lanes[HWY_MAX_BYTES / sizeof(T)] = {};
  for (size_t i = 0; i < n; ++i) lanes[i] = p[i];
  return hn::Load(d, lanes);
#else
  return hn::MaskedLoad(hn::FirstN(d, n), d, p);
#endif
}

/// Writes the first n lanes to p[0 ... n - 1] and nothing else. n <= Lanes(d).
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void StoreTail(hn::Vec<D> v, D d, T* p, size_t n) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN T lanes[HWY_MAX_BYTES / sizeof(T)];
  hn::Store(v, d, lanes);
  for (size_t i = 0; i < n; ++i) p[i] = lanes[i];
#else
  hn::BlendedStore(v, hn::FirstN(d, n), d, p);
#endif
}

/// f(lane) for every lane: for functions that are not worth a vector version.
template <class D, class F>
HWY_INLINE hn::Vec<D> MapLanes(D d, hn::Vec<D> v, F f) {
  using T = hn::TFromD<D>;
  HWY_ALIGN T lanes[HWY_MAX_BYTES / sizeof(T)];
  hn::Store(v, d, lanes);
  for (size_t i = 0; i < hn::Lanes(d); ++i) lanes[i] = f(lanes[i]);
  return hn::Load(d, lanes);
}

namespace detail {

/// Numbers of the float formats.
template <class T>
struct Format;
template <>
struct Format<float> {
  static constexpr int kMantissaBits = 23;
  static constexpr int32_t kBias = 127;
  static constexpr float kShifter = 12582912.0f;   // 1.5 * 2^23: adding it rounds to an integer in the low bits
  static constexpr float kLn2High = 0.693359375f;  // few bits, so that n * kLn2High is exact
  static constexpr float kLn2Low = -2.12194440e-4f;
  static constexpr float kExpMax = 88.7228317f;   // exp overflows above
  static constexpr float kExpMin = -87.3365402f;  // exp is denormal below
};
template <>
struct Format<double> {
  static constexpr int kMantissaBits = 52;
  static constexpr int64_t kBias = 1023;
  static constexpr double kShifter = 6755399441055744.0;
  static constexpr double kLn2High = 6.93147180369123816490e-01;
  static constexpr double kLn2Low = 1.90821492927058770002e-10;
  static constexpr double kExpMax = 709.782712893383973096;
  static constexpr double kExpMin = -708.396418532264106224;
};

/// c[0] + c[1] x + ... by Horner's rule.
template <class D, class T, size_t N>
HWY_INLINE hn::Vec<D> Polynomial(D d, hn::Vec<D> x, const T (&c)[N]) {
  hn::Vec<D> y = hn::Set(d, c[N - 1]);
  for (size_t i = N - 1; i-- > 0;) y = hn::MulAdd(y, x, hn::Set(d, c[i]));
  return y;
}

// exp(r) = 1 + r + r^2 q(r) for |r| <= ln(2) / 2. float: minimax in the relative error (3e-9); double: Taylor (4e-18).
inline constexpr float kExpFloat[] = {0.4999999341f, 0.1666652010f, 0.0416683945f, 0.0083687816f, 0.0013814454f};
// The same as one polynomial of lower degree (9.2e-8).
inline constexpr float kExpShort[] = {1.0f,          0.999999707f,   0.4999914907f,
                                      0.1666763672f, 0.04189799193f, 0.008290303234f};
inline constexpr double kExpDouble[] = {1 / 2.0,       1 / 6.0,        1 / 24.0,        1 / 120.0,
                                        1 / 720.0,     1 / 5040.0,     1 / 40320.0,     1 / 362880.0,
                                        1 / 3628800.0, 1 / 39916800.0, 1 / 479001600.0, 1 / 6227020800.0};

template <class T>
HWY_INLINE constexpr const auto& ExpCoefficients() {
  if constexpr (sizeof(T) == 4) {
    return kExpFloat;
  } else {
    return kExpDouble;
  }
}

template <class D>
HWY_INLINE hn::Vec<D> ExpPolynomial(D d, hn::Vec<D> r) {
  return Polynomial(d, r, ExpCoefficients<hn::TFromD<D>>());
}

/// x = n ln(2) + r: returns exp(r) - 1 and n shifted to where the exponent lies.
template <class D>
HWY_INLINE hn::Vec<D> ReducedExpm1(D d, hn::Vec<D> x, hn::Vec<hn::RebindToSigned<D>>& exponent) {
  using T = hn::TFromD<D>;
  using F = Format<T>;
  const hn::RebindToSigned<D> di;
  const auto shifter = hn::Set(d, F::kShifter);
  const auto shifted = hn::MulAdd(x, hn::Set(d, static_cast<T>(1.44269504088896340736)), shifter);
  const auto n = hn::Sub(shifted, shifter);
  exponent = hn::ShiftLeft<F::kMantissaBits>(hn::BitCast(di, shifted));
  auto r = hn::NegMulAdd(n, hn::Set(d, F::kLn2High), x);
  r = hn::NegMulAdd(n, hn::Set(d, F::kLn2Low), r);
  return hn::MulAdd(hn::Mul(r, r), ExpPolynomial(d, r), r);
}

// log((1 + s) / (1 - s)) = 2 s + s R(s^2), R(z) = z (2/3 + z (2/5 + ...)); |s| <= 0.1716.
inline constexpr float kLogFloat[] = {2 / 3.0f, 2 / 5.0f, 2 / 7.0f, 2 / 9.0f};
inline constexpr double kLogDouble[] = {2 / 3.0,  2 / 5.0,  2 / 7.0,  2 / 9.0,  2 / 11.0,
                                        2 / 13.0, 2 / 15.0, 2 / 17.0, 2 / 19.0, 2 / 21.0};

// erf(x) = x P(x^2) / Q(x^2) for |x| <= 3.92: rational minimax, relative error 1.9e-8.
inline constexpr float kErfP[] = {1.128379146e+00f, 1.903950402e-01f, 5.274722067e-02f,
                                  3.765131923e-03f, 2.848727286e-04f, 2.050185602e-06f};
inline constexpr float kErfQ[] = {
    1.0f, 5.020659546e-01f, 1.141043965e-01f, 1.496824149e-02f, 1.162419777e-03f, 3.809221365e-05f};

// Phi(-a) = exp(-a^2 / 2) P(a) / Q(a) for 0 <= a <= 13.3: rational minimax, relative error 5e-9.
inline constexpr float kCdfP[] = {5.000000025e-01f, 4.356829948e-01f, 1.813041131e-01f, 3.998322641e-02f,
                                  4.020033626e-03f};
inline constexpr float kCdfQ[] = {
    1.0f, 1.669250908e+00f, 1.194473623e+00f, 4.643732986e-01f, 1.002304675e-01f, 1.007658673e-02f};

}  // namespace detail

/// exp(x), float or double: relative error below 1.2e-7 or 4e-16. 0 where the result would be denormal, infinity where
/// it overflows, NaN for NaN.
template <class D>
HWY_INLINE hn::Vec<D> Exp(D d, hn::Vec<D> x) {
  using F = detail::Format<hn::TFromD<D>>;
  const hn::RebindToSigned<D> di;
  hn::Vec<decltype(di)> exponent;
  const auto y = hn::Add(detail::ReducedExpm1(d, x, exponent), hn::Set(d, hn::TFromD<D>{1}));
  const auto scaled = hn::BitCast(d, hn::Add(hn::BitCast(di, y), exponent));
  const auto bounded = hn::IfThenElse(hn::Gt(x, hn::Set(d, F::kExpMax)), hn::Inf(d), scaled);
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, F::kExpMin)), bounded);
}

/// x[i] = exp(x[i]) for x[i] <= 0 or NaN. Stage by stage for all of them: one exponential is a chain of some fifteen
/// operations, several side by side keep the processor busy.
template <class D, size_t N>
HWY_INLINE void ExpNonPositive(D d, hn::Vec<D> (&x)[N]) {
  using T = hn::TFromD<D>;
  using F = detail::Format<T>;
  using V = hn::Vec<D>;
  const hn::RebindToSigned<D> di;
  const auto shifter = hn::Set(d, F::kShifter);
  V shifted[N], r[N], y[N];
  const auto each = [](auto f) HWY_ATTR {
#pragma GCC unroll 8
    for (size_t i = 0; i < N; ++i) f(i);
  };
  each([&](size_t i)
           HWY_ATTR { shifted[i] = hn::MulAdd(x[i], hn::Set(d, static_cast<T>(1.44269504088896340736)), shifter); });
  each([&](size_t i) HWY_ATTR { y[i] = hn::Sub(shifted[i], shifter); });
  each([&](size_t i) HWY_ATTR { r[i] = hn::NegMulAdd(y[i], hn::Set(d, F::kLn2High), x[i]); });
  each([&](size_t i) HWY_ATTR { r[i] = hn::NegMulAdd(y[i], hn::Set(d, F::kLn2Low), r[i]); });
  const auto& c = detail::ExpCoefficients<T>();
  constexpr size_t kTerms = std::extent_v<std::remove_reference_t<decltype(c)>>;
  each([&](size_t i) HWY_ATTR { y[i] = hn::Set(d, c[kTerms - 1]); });
  for (size_t k = kTerms - 1; k-- > 0;) {
    each([&](size_t i) HWY_ATTR { y[i] = hn::MulAdd(y[i], r[i], hn::Set(d, c[k])); });
  }
  each([&](size_t i) HWY_ATTR { y[i] = hn::MulAdd(hn::Mul(r[i], r[i]), y[i], r[i]); });
  each([&](size_t i) HWY_ATTR { y[i] = hn::Add(y[i], hn::Set(d, T{1})); });
  each([&](size_t i) HWY_ATTR {
    const auto exponent = hn::ShiftLeft<F::kMantissaBits>(hn::BitCast(di, shifted[i]));
    y[i] = hn::BitCast(d, hn::Add(hn::BitCast(di, y[i]), exponent));
  });
  each([&](size_t i) HWY_ATTR { x[i] = hn::IfThenZeroElse(hn::Lt(x[i], hn::Set(d, F::kExpMin)), y[i]); });
}

/// x[i] = exp(x[i]) for -80 <= x[i] <= 0: float with a relative error below 3.7e-7, double as ExpNonPositive. A third
/// fewer operations: nothing can underflow, and so few times ln(2) as one float, without rounding in between, are exact
/// enough.
template <class D, size_t N>
HWY_INLINE void ExpBounded(D d, hn::Vec<D> (&x)[N]) {
  using T = hn::TFromD<D>;
  if constexpr (sizeof(T) == 8 || !HWY_NATIVE_FMA) {
    ExpNonPositive(d, x);
  } else {
    using F = detail::Format<T>;
    const hn::RebindToSigned<D> di;
    const auto shifter = hn::Set(d, F::kShifter);
    hn::Vec<D> shifted[N], y[N];
    const auto each = [](auto f) HWY_ATTR {
#pragma GCC unroll 8
      for (size_t i = 0; i < N; ++i) f(i);
    };
    each([&](size_t i) HWY_ATTR { shifted[i] = hn::MulAdd(x[i], hn::Set(d, 1.44269504f), shifter); });
    each([&](size_t i) HWY_ATTR { y[i] = hn::Sub(shifted[i], shifter); });
    each([&](size_t i) HWY_ATTR { x[i] = hn::NegMulAdd(y[i], hn::Set(d, 0.693147182f), x[i]); });
    constexpr size_t kTerms = std::extent_v<decltype(detail::kExpShort)>;
    each([&](size_t i) HWY_ATTR { y[i] = hn::Set(d, detail::kExpShort[kTerms - 1]); });
    for (size_t k = kTerms - 1; k-- > 0;) {
      each([&](size_t i) HWY_ATTR { y[i] = hn::MulAdd(y[i], x[i], hn::Set(d, detail::kExpShort[k])); });
    }
    each([&](size_t i) HWY_ATTR {
      const auto exponent = hn::ShiftLeft<F::kMantissaBits>(hn::BitCast(di, shifted[i]));
      x[i] = hn::BitCast(d, hn::Add(hn::BitCast(di, y[i]), exponent));
    });
  }
}

namespace detail {

/// exp(x) - 1 where x is at least one binade below what overflows.
template <class D>
HWY_INLINE hn::Vec<D> BoundedExpm1(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  const hn::RebindToSigned<D> di;
  const auto low = hn::Set(d, Format<T>::kExpMin);
  const auto in = hn::IfThenElse(hn::Lt(x, low), low, x);
  hn::Vec<decltype(di)> exponent;
  const auto tail = ReducedExpm1(d, in, exponent);
  const auto scale = hn::BitCast(d, hn::Add(exponent, hn::BitCast(di, hn::Set(d, T{1}))));
  return hn::MulAdd(scale, tail, hn::Sub(scale, hn::Set(d, T{1})));
}

}  // namespace detail

/// exp(x) - 1 without cancellation near 0.
template <class D>
HWY_INLINE hn::Vec<D> Expm1(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  // One binade before the largest number the scale alone overflows.
  const auto high = hn::Set(d, static_cast<T>(static_cast<double>(detail::Format<T>::kBias) * 0.69314718055994530942));
  return hn::IfThenElse(hn::Gt(x, high), Exp(d, x), detail::BoundedExpm1(d, x));
}

/// Natural logarithm, within 1.5 units in the last place. -infinity at 0, NaN below.
template <class D>
HWY_INLINE hn::Vec<D> Log(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  using F = detail::Format<T>;
  const hn::RebindToSigned<D> di;
  // Denormals are brought into range first.
  constexpr int kRaise = F::kMantissaBits + 2;
  const auto tiny = hn::Lt(x, hn::Set(d, std::numeric_limits<T>::min()));
  const auto in = hn::IfThenElse(tiny, hn::Mul(x, hn::Set(d, static_cast<T>(int64_t{1} << kRaise))), x);
  // in = 2^n m, m in [sqrt(1/2), sqrt(2))
  const auto bits = hn::BitCast(di, in);
  const auto half = hn::BitCast(di, hn::Set(d, static_cast<T>(0.70710678118654752440)));
  const auto exponent = hn::ShiftRight<F::kMantissaBits>(hn::Sub(bits, half));
  const auto m = hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<F::kMantissaBits>(exponent)));
  auto n = hn::ConvertTo(d, exponent);
  n = hn::Sub(n, hn::IfThenElseZero(tiny, hn::Set(d, T{kRaise})));
  const auto f = hn::Sub(m, hn::Set(d, T{1}));
  const auto s = hn::Div(f, hn::Add(f, hn::Set(d, T{2})));
  const auto z = hn::Mul(s, s);
  hn::Vec<D> r;
  if constexpr (sizeof(T) == 4) {
    r = hn::Mul(z, detail::Polynomial(d, z, detail::kLogFloat));
  } else {
    r = hn::Mul(z, detail::Polynomial(d, z, detail::kLogDouble));
  }
  // log(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + R)), which keeps the exact f apart (as fdlibm does).
  const auto square = hn::Mul(hn::Mul(f, f), hn::Set(d, static_cast<T>(0.5)));
  const auto low = hn::MulAdd(s, hn::Add(square, r), hn::Mul(n, hn::Set(d, F::kLn2Low)));
  auto y = hn::MulAdd(n, hn::Set(d, F::kLn2High), hn::Sub(f, hn::Sub(square, low)));
  y = hn::IfThenElse(hn::Eq(x, hn::Inf(d)), x, y);
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(hn::Inf(d)), y);
  return hn::IfThenElse(hn::Ge(x, hn::Zero(d)), y, hn::NaN(d));
}

/// log(1 + x), accurate for small x. -infinity at -1, NaN below.
template <class D>
HWY_INLINE hn::Vec<D> Log1p(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, hn::TFromD<D>{1});
  const auto w = hn::Add(x, one);
  const auto rounded_off = hn::Div(hn::Sub(x, hn::Sub(w, one)), w);  // NaN where w is 0 or infinite
  const auto usual = hn::And(hn::Gt(w, hn::Zero(d)), hn::Lt(w, hn::Inf(d)));
  return hn::Add(Log(d, w), hn::IfThenElseZero(usual, rounded_off));
}

/// tanh(x) = -t / (t + 2), t = exp(-2 |x|) - 1.
template <class D>
HWY_INLINE hn::Vec<D> Tanh(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  const auto t = detail::BoundedExpm1(d, hn::Mul(hn::Abs(x), hn::Set(d, T{-2})));
  return hn::CopySign(hn::Div(t, hn::Add(t, hn::Set(d, T{2}))), x);
}

/// 1 / (1 + exp(-x))
template <class D>
HWY_INLINE hn::Vec<D> Sigmoid(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, hn::TFromD<D>{1});
  return hn::Div(one, hn::Add(one, Exp(d, hn::Neg(x))));
}

/// Error function. float: a rational minimax approximation, within 4 units in the last place.
template <class D>
HWY_INLINE hn::Vec<D> Erf(D d, hn::Vec<D> x) {
  if constexpr (sizeof(hn::TFromD<D>) == 8) {
    return MapLanes(d, x, [](double lane) { return std::erf(lane); });
  } else {
    const auto limit = hn::Set(d, 3.92f);
    const auto z = hn::Mul(x, x);
    const auto y = hn::Mul(x, detail::Polynomial(d, z, detail::kErfP));
    const auto inner = hn::Div(y, detail::Polynomial(d, z, detail::kErfQ));
    return hn::IfThenElse(hn::Gt(hn::Abs(x), limit), hn::CopySign(hn::Set(d, 1.0f), x), inner);
  }
}

/// Distribution function of the standard normal distribution, (1 + erf(x / sqrt(2))) / 2, with a small relative error
/// also where it is close to 0.
template <class D>
HWY_INLINE hn::Vec<D> NormalCdf(D d, hn::Vec<D> x) {
  if constexpr (sizeof(hn::TFromD<D>) == 8) {
    return MapLanes(d, x, [](double lane) { return 0.5 * std::erfc(lane * -0.70710678118654752440); });
  } else {
    const auto limit = hn::Set(d, 14.0f);  // exp is 0 from 13.3 on
    const auto distance = hn::Abs(x);
    const auto a = hn::IfThenElse(hn::Gt(distance, limit), limit, distance);
    const auto bell = Exp(d, hn::Mul(hn::Mul(a, a), hn::Set(d, -0.5f)));
    const auto tail =
        hn::Mul(bell, hn::Div(detail::Polynomial(d, a, detail::kCdfP), detail::Polynomial(d, a, detail::kCdfQ)));
    return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), hn::Sub(hn::Set(d, 1.0f), tail), tail);
  }
}

}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
