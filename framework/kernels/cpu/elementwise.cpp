#include "framework/kernels/elementwise.h"

#include "framework/kernels/cpu/map.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/lanes.h"
#include "framework/kernels/functors_activation.h"

// What one instruction set offers: every formula and every derivative.
#ifndef ATTUNE_FRAMEWORK_KERNELS_CPU_ELEMENTWISE_MAPS_
#define ATTUNE_FRAMEWORK_KERNELS_CPU_ELEMENTWISE_MAPS_
namespace attune::cpu {
struct ElementwiseMaps {
#define ATTUNE_UNARY_MAPS(NAME, FORMULA) \
  Map<1> NAME;                           \
  Map<2> NAME##_backward;
  ATTUNE_UNARY_KERNELS(ATTUNE_UNARY_MAPS)
  ATTUNE_PARAMETRIC_KERNELS(ATTUNE_UNARY_MAPS)
#undef ATTUNE_UNARY_MAPS
#define ATTUNE_STEP_MAP(NAME, FORMULA) Map<1> NAME;
  ATTUNE_STEP_KERNELS(ATTUNE_STEP_MAP)
#undef ATTUNE_STEP_MAP
#define ATTUNE_BINARY_MAP(NAME, FORMULA) Map<2> NAME;
  ATTUNE_BINARY_KERNELS(ATTUNE_BINARY_MAP)
#undef ATTUNE_BINARY_MAP
  Map<1> affine;
};
}  // namespace attune::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

template <class F>
HWY_INLINE F make_formula(double first, double second) {
  if constexpr (std::is_constructible_v<F, functors::Parameters>) {
    return F(functors::Parameters{first, second});
  } else {
    return F{};
  }
}

// Evaluates `expression` of the vectors a, b at every index; the last, partial vector reads and writes what is there.
template <class F, class T>
void unary(double first, double second, const std::array<const T*, 1>& in, T* out, int64_t n) {
  const F f = make_formula<F>(first, second);
  const hn::ScalableTag<T> d;
  using L = Lanes<hn::ScalableTag<T>>;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const T* x = in[0];
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f.forward(L(hn::LoadU(d, x + i))).v, d, out + i);
  if (i < n) {
    const auto rest = static_cast<size_t>(n - i);
    StoreTail(f.forward(L(LoadTail(d, x + i, rest))).v, d, out + i, rest);
  }
}

template <class F, class T>
void binary(double first, double second, const std::array<const T*, 2>& in, T* out, int64_t n) {
  const F f = make_formula<F>(first, second);
  const hn::ScalableTag<T> d;
  using L = Lanes<hn::ScalableTag<T>>;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const T* a = in[0];
  const T* b = in[1];
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(f.forward(L(hn::LoadU(d, a + i)), L(hn::LoadU(d, b + i))).v, d, out + i);
  }
  if (i < n) {
    const auto rest = static_cast<size_t>(n - i);
    StoreTail(f.forward(L(LoadTail(d, a + i, rest)), L(LoadTail(d, b + i, rest))).v, d, out + i, rest);
  }
}

// The derivative of a unary formula as a binary one.
template <class F>
struct Backward {
  F f;
  explicit Backward(functors::Parameters p) : f(make_formula<F>(p.first, p.second)) {}
  template <class T>
  HWY_INLINE T forward(T saved, T dy) const {
    return functors::chain(dy, f.derivative(saved));
  }
};

template <class F>
constexpr Map<1> kUnary{unary<F, float>, unary<F, double>};
template <class F>
constexpr Map<2> kBinary{binary<F, float>, binary<F, double>};

constexpr ElementwiseMaps kMaps{
#define ATTUNE_UNARY_MAPS(NAME, FORMULA) kUnary<functors::FORMULA>, kBinary<Backward<functors::FORMULA>>,
    ATTUNE_UNARY_KERNELS(ATTUNE_UNARY_MAPS) ATTUNE_PARAMETRIC_KERNELS(ATTUNE_UNARY_MAPS)
#undef ATTUNE_UNARY_MAPS
#define ATTUNE_STEP_MAP(NAME, FORMULA) kUnary<functors::FORMULA>,
        ATTUNE_STEP_KERNELS(ATTUNE_STEP_MAP)
#undef ATTUNE_STEP_MAP
#define ATTUNE_BINARY_MAP(NAME, FORMULA) kBinary<functors::FORMULA>,
            ATTUNE_BINARY_KERNELS(ATTUNE_BINARY_MAP)
#undef ATTUNE_BINARY_MAP
                kUnary<functors::Affine>};

const ElementwiseMaps* elementwise_maps() { return &kMaps; }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(elementwise_maps);

namespace {

const ElementwiseMaps& maps() { return *HWY_DYNAMIC_DISPATCH(elementwise_maps)(); }

}  // namespace

#define ATTUNE_DEFINE_UNARY(NAME, FORMULA)                                           \
  void NAME(const Tensor& x, Tensor& y) { run_map<1>(#NAME, maps().NAME, {&x}, y); } \
  void NAME##_backward(const Tensor& saved, const Tensor& dy, Tensor& dx) {          \
    run_map<2>(#NAME "_backward", maps().NAME##_backward, {&saved, &dy}, dx);        \
  }
ATTUNE_UNARY_KERNELS(ATTUNE_DEFINE_UNARY)
#undef ATTUNE_DEFINE_UNARY

#define ATTUNE_DEFINE_PARAMETRIC(NAME, FORMULA)                                                          \
  void NAME(const Tensor& x, double first, double second, Tensor& y) {                                   \
    run_map<1>(#NAME, maps().NAME, {&x}, y, first, second);                                              \
  }                                                                                                      \
  void NAME##_backward(const Tensor& saved, const Tensor& dy, double first, double second, Tensor& dx) { \
    run_map<2>(#NAME "_backward", maps().NAME##_backward, {&saved, &dy}, dx, first, second);             \
  }
ATTUNE_PARAMETRIC_KERNELS(ATTUNE_DEFINE_PARAMETRIC)
#undef ATTUNE_DEFINE_PARAMETRIC
#define ATTUNE_DEFINE_STEP(NAME, FORMULA) \
  void NAME(const Tensor& x, Tensor& y) { run_map<1>(#NAME, maps().NAME, {&x}, y); }
ATTUNE_STEP_KERNELS(ATTUNE_DEFINE_STEP)
#undef ATTUNE_DEFINE_STEP

#define ATTUNE_DEFINE_BINARY(NAME, FORMULA) \
  void NAME(const Tensor& a, const Tensor& b, Tensor& y) { run_map<2>(#NAME, maps().NAME, {&a, &b}, y); }
ATTUNE_BINARY_KERNELS(ATTUNE_DEFINE_BINARY)
#undef ATTUNE_DEFINE_BINARY

void affine(const Tensor& x, double factor, double offset, Tensor& y) {
  run_map<1>("affine", maps().affine, {&x}, y, factor, offset);
}

}  // namespace attune::cpu
#endif
