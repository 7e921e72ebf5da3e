#include "framework/kernels/cpu/winograd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/winograd.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

// Each transform is one matrix applied to the columns and then to the rows.

struct Input {  // B^T
  static constexpr int kIn = 4, kOut = 4;
  template <class D, class V>
  HWY_INLINE static void apply(D, const V* x, V* y) {
    y[0] = hn::Sub(x[0], x[2]);
    y[1] = hn::Add(x[1], x[2]);
    y[2] = hn::Sub(x[2], x[1]);
    y[3] = hn::Sub(x[1], x[3]);
  }
};

struct Output {  // A^T
  static constexpr int kIn = 4, kOut = 2;
  template <class D, class V>
  HWY_INLINE static void apply(D, const V* x, V* y) {
    y[0] = hn::Add(hn::Add(x[0], x[1]), x[2]);
    y[1] = hn::Sub(hn::Sub(x[1], x[2]), x[3]);
  }
};

struct OutputGradient {  // A
  static constexpr int kIn = 2, kOut = 4;
  template <class D, class V>
  HWY_INLINE static void apply(D, const V* x, V* y) {
    y[0] = x[0];
    y[1] = hn::Add(x[0], x[1]);
    y[2] = hn::Sub(x[0], x[1]);
    y[3] = hn::Neg(x[1]);
  }
};

struct Weights {  // G
  static constexpr int kIn = 3, kOut = 4;
  template <class D, class V>
  HWY_INLINE static void apply(D d, const V* x, V* y) {
    const V half = hn::Set(d, hn::TFromD<D>(0.5));
    const V ends = hn::Add(x[0], x[2]);
    y[0] = x[0];
    y[1] = hn::Mul(half, hn::Add(ends, x[1]));
    y[2] = hn::Mul(half, hn::Sub(ends, x[1]));
    y[3] = x[2];
  }
};

struct WeightsGradient {  // G^T
  static constexpr int kIn = 4, kOut = 3;
  template <class D, class V>
  HWY_INLINE static void apply(D d, const V* x, V* y) {
    const V half = hn::Set(d, hn::TFromD<D>(0.5));
    const V sum = hn::Mul(half, hn::Add(x[1], x[2]));
    y[0] = hn::Add(x[0], sum);
    y[1] = hn::Mul(half, hn::Sub(x[1], x[2]));
    y[2] = hn::Add(sum, x[3]);
  }
};

template <class Rule, class T>
void run_rule(int64_t count, int64_t length, const Grids<const T>& from, const Grids<T>& to, const T* bias) {
  const hn::CappedTag<T, kWinogradLanes> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t n = 0; n < count; ++n) {
    const T* HWY_RESTRICT source = from[n];
    T* HWY_RESTRICT target = to[n];
    for (int64_t at = 0; at < length; at += lanes) {
      V half[Rule::kIn][Rule::kOut];  // the columns are done
#pragma GCC unroll 4
      for (int j = 0; j < Rule::kIn; ++j) {
        V column[Rule::kIn];
#pragma GCC unroll 4
        for (int i = 0; i < Rule::kIn; ++i) column[i] = hn::LoadU(d, source + i * from.row + j * from.column + at);
        Rule::apply(d, column, half[j]);
      }
      const V shift = bias != nullptr ? hn::LoadU(d, bias + at) : hn::Zero(d);
#pragma GCC unroll 4
      for (int i = 0; i < Rule::kOut; ++i) {
        V row[Rule::kIn];
        V done[Rule::kOut];
#pragma GCC unroll 4
        for (int j = 0; j < Rule::kIn; ++j) row[j] = half[j][i];
        Rule::apply(d, row, done);
#pragma GCC unroll 4
        for (int j = 0; j < Rule::kOut; ++j) {
          const V y = bias != nullptr ? hn::Add(done[j], shift) : done[j];
          hn::StoreU(y, d, target + i * to.row + j * to.column + at);
        }
      }
    }
  }
}

template <class T>
void run_transform(WinogradTransform transform, int64_t count, int64_t length, const Grids<const T>& from,
                   const Grids<T>& to, const T* bias) {
  switch (transform) {
    case WinogradTransform::kInput:
      return run_rule<Input>(count, length, from, to, bias);
    case WinogradTransform::kOutput:
      return run_rule<Output>(count, length, from, to, bias);
    case WinogradTransform::kOutputGradient:
      return run_rule<OutputGradient>(count, length, from, to, bias);
    case WinogradTransform::kWeights:
      return run_rule<Weights>(count, length, from, to, bias);
    case WinogradTransform::kWeightsGradient:
      return run_rule<WeightsGradient>(count, length, from, to, bias);
  }
}

void winograd_float(WinogradTransform transform, int64_t count, int64_t length, const Grids<const float>& from,
                    const Grids<float>& to, const float* bias) {
  run_transform(transform, count, length, from, to, bias);
}
void winograd_double(WinogradTransform transform, int64_t count, int64_t length, const Grids<const double>& from,
                     const Grids<double>& to, const double* bias) {
  run_transform(transform, count, length, from, to, bias);
}

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(winograd_float);
HWY_EXPORT(winograd_double);

void winograd(WinogradTransform transform, int64_t count, int64_t length, const Grids<const float>& from,
              const Grids<float>& to, const float* bias) {
  HWY_DYNAMIC_DISPATCH(winograd_float)(transform, count, length, from, to, bias);
}
void winograd(WinogradTransform transform, int64_t count, int64_t length, const Grids<const double>& from,
              const Grids<double>& to, const double* bias) {
  HWY_DYNAMIC_DISPATCH(winograd_double)(transform, count, length, from, to, bias);
}

}  // namespace attune::cpu
#endif
