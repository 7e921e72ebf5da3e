// A vector that reads like a number, so that the formulas of functors.h serve vectors too; compiled once per
// instruction set, as simd.h.

#if defined(ATTUNE_FRAMEWORK_KERNELS_CPU_LANES_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ATTUNE_FRAMEWORK_KERNELS_CPU_LANES_H_
#undef ATTUNE_FRAMEWORK_KERNELS_CPU_LANES_H_
#else
#define ATTUNE_FRAMEWORK_KERNELS_CPU_LANES_H_
#endif

#include <cmath>

#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {

/// f(lane of a, lane of b) for every lane.
template <class D, class F>
HWY_INLINE hn::Vec<D> MapLanes(D d, hn::Vec<D> a, hn::Vec<D> b, F f) {
  using T = hn::TFromD<D>;
  HWY_ALIGN T left[HWY_MAX_BYTES / sizeof(T)];
  HWY_ALIGN T right[HWY_MAX_BYTES / sizeof(T)];
  hn::Store(a, d, left);
  hn::Store(b, d, right);
  for (size_t i = 0; i < hn::Lanes(d); ++i) left[i] = f(left[i], right[i]);
  return hn::Load(d, left);
}

template <class D>
struct LaneMask {
  hn::Mask<D> m;

  friend HWY_INLINE LaneMask operator||(LaneMask a, LaneMask b) { return {hn::Or(a.m, b.m)}; }
  friend HWY_INLINE LaneMask operator&&(LaneMask a, LaneMask b) { return {hn::And(a.m, b.m)}; }
};

template <class D>
struct Lanes {
  using T = hn::TFromD<D>;
  hn::Vec<D> v;

  HWY_INLINE Lanes(double value) : v(hn::Set(D(), static_cast<T>(value))) {}  // NOLINT: numbers convert
  HWY_INLINE explicit Lanes(hn::Vec<D> raw) : v(raw) {}

  friend HWY_INLINE Lanes operator+(Lanes a, Lanes b) { return Lanes(hn::Add(a.v, b.v)); }
  friend HWY_INLINE Lanes operator-(Lanes a, Lanes b) { return Lanes(hn::Sub(a.v, b.v)); }
  friend HWY_INLINE Lanes operator*(Lanes a, Lanes b) { return Lanes(hn::Mul(a.v, b.v)); }
  friend HWY_INLINE Lanes operator/(Lanes a, Lanes b) { return Lanes(hn::Div(a.v, b.v)); }
  friend HWY_INLINE Lanes operator-(Lanes a) { return Lanes(hn::Neg(a.v)); }

  friend HWY_INLINE LaneMask<D> operator<(Lanes a, Lanes b) { return {hn::Lt(a.v, b.v)}; }
  friend HWY_INLINE LaneMask<D> operator>(Lanes a, Lanes b) { return {hn::Gt(a.v, b.v)}; }
  friend HWY_INLINE LaneMask<D> operator<=(Lanes a, Lanes b) { return {hn::Le(a.v, b.v)}; }
  friend HWY_INLINE LaneMask<D> operator>=(Lanes a, Lanes b) { return {hn::Ge(a.v, b.v)}; }
  friend HWY_INLINE LaneMask<D> operator==(Lanes a, Lanes b) { return {hn::Eq(a.v, b.v)}; }
  friend HWY_INLINE Lanes select(LaneMask<D> mask, Lanes a, Lanes b) { return Lanes(hn::IfThenElse(mask.m, a.v, b.v)); }

  friend HWY_INLINE Lanes abs(Lanes x) { return Lanes(hn::Abs(x.v)); }
  friend HWY_INLINE Lanes sqrt(Lanes x) { return Lanes(hn::Sqrt(x.v)); }
  friend HWY_INLINE Lanes exp(Lanes x) { return Lanes(Exp(D(), x.v)); }
  friend HWY_INLINE Lanes expm1(Lanes x) { return Lanes(Expm1(D(), x.v)); }
  friend HWY_INLINE Lanes log(Lanes x) { return Lanes(Log(D(), x.v)); }
  friend HWY_INLINE Lanes log1p(Lanes x) { return Lanes(Log1p(D(), x.v)); }
  friend HWY_INLINE Lanes tanh(Lanes x) { return Lanes(Tanh(D(), x.v)); }
  friend HWY_INLINE Lanes normal_cdf(Lanes x) { return Lanes(NormalCdf(D(), x.v)); }
  friend HWY_INLINE Lanes floor(Lanes x) { return Lanes(hn::Floor(x.v)); }
  friend HWY_INLINE Lanes ceil(Lanes x) { return Lanes(hn::Ceil(x.v)); }
  friend HWY_INLINE Lanes rint(Lanes x) { return Lanes(hn::Round(x.v)); }
  friend HWY_INLINE Lanes erf(Lanes x) { return Lanes(Erf(D(), x.v)); }
  friend HWY_INLINE Lanes pow(Lanes a, Lanes b) {
    return Lanes(MapLanes(D(), a.v, b.v, [](T x, T y) { return std::pow(x, y); }));
  }
  friend HWY_INLINE Lanes fmod(Lanes a, Lanes b) {
    return Lanes(MapLanes(D(), a.v, b.v, [](T x, T y) { return std::fmod(x, y); }));
  }
  friend HWY_INLINE Lanes sin(Lanes x) {
    return Lanes(MapLanes(D(), x.v, [](T lane) { return std::sin(lane); }));
  }
  friend HWY_INLINE Lanes cos(Lanes x) {
    return Lanes(MapLanes(D(), x.v, [](T lane) { return std::cos(lane); }));
  }
};

}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
