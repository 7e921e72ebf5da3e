#include "framework/kernels/rotary.h"

#include <algorithm>

#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/rotary.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/rows.h"

#ifndef ATTUNE_FRAMEWORK_KERNELS_CPU_ROTARY_CPP_
#define ATTUNE_FRAMEWORK_KERNELS_CPU_ROTARY_CPP_
namespace attune::cpu {
namespace {

template <class T>
struct Turn {
  const T* x;
  int64_t sample_step, position_step, head_step;
  int64_t positions, heads, size, pairs;
  const T* cosines;
  const T* sines;
  T sign;
  RotaryLayout layout;
  T* y;
};

}  // namespace
}  // namespace attune::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

// One head: pairs 0 ... n - 1 of x by cosines c and sign times sines s.
template <class T>
HWY_INLINE void turn_halves(const T* x, const T* c, const T* s, T sign, int64_t n, T* y) {
  const hn::ScalableTag<T> d;
  const auto signs = hn::Set(d, sign);
  over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
    const auto a = load(x);
    const auto b = load(x + n);
    const auto cosine = load(c);
    const auto sine = hn::Mul(load(s), signs);
    store(hn::NegMulAdd(b, sine, hn::Mul(a, cosine)), y);
    store(hn::MulAdd(a, sine, hn::Mul(b, cosine)), y + n);
  });
}

template <class T>
HWY_INLINE void turn_interleaved(const T* x, const T* c, const T* s, T sign, int64_t n, T* y) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto signs = hn::Set(d, sign);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::Vec<decltype(d)> a;
    hn::Vec<decltype(d)> b;
    hn::LoadInterleaved2(d, x + 2 * i, a, b);
    const auto cosine = hn::LoadU(d, c + i);
    const auto sine = hn::Mul(hn::LoadU(d, s + i), signs);
    hn::StoreInterleaved2(hn::NegMulAdd(b, sine, hn::Mul(a, cosine)), hn::MulAdd(a, sine, hn::Mul(b, cosine)), d,
                          y + 2 * i);
  }
  for (; i < n; ++i) {
    const T a = x[2 * i];
    const T b = x[2 * i + 1];
    y[2 * i] = a * c[i] - b * (sign * s[i]);
    y[2 * i + 1] = b * c[i] + a * (sign * s[i]);
  }
}

// Positions begin ... end - 1 of all samples' positions, one after the other.
template <class T>
void turn_positions(const Turn<T>& turn, int64_t begin, int64_t end) {
  T* y = turn.y + begin * turn.heads * turn.size;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t n = row % turn.positions;
    const T* x = turn.x + row / turn.positions * turn.sample_step + n * turn.position_step;
    const T* c = turn.cosines + n * turn.pairs;
    const T* s = turn.sines + n * turn.pairs;
    for (int64_t h = 0; h < turn.heads; ++h, x += turn.head_step, y += turn.size) {
      if (turn.layout == RotaryLayout::kHalves) {
        turn_halves(x, c, s, turn.sign, turn.pairs, y);
      } else {
        turn_interleaved(x, c, s, turn.sign, turn.pairs, y);
      }
      std::copy(x + 2 * turn.pairs, x + turn.size, y + 2 * turn.pairs);
    }
  }
}

void turn_float(const Turn<float>& turn, int64_t begin, int64_t end) { turn_positions(turn, begin, end); }
void turn_double(const Turn<double>& turn, int64_t begin, int64_t end) { turn_positions(turn, begin, end); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(turn_float);
HWY_EXPORT(turn_double);

void rotary(const Tensor& x, const Tensor& cosines, const Tensor& sines, RotaryLayout layout, double sign, Tensor& y) {
  constexpr int64_t kGrain = 8192;
  visit_floating(x.dtype(), "rotary", [&]<class T>(T) {
    const Turn<T> turn{x.data<T>(),    x.stride(0),       x.stride(1),     x.stride(2), x.dim(1), x.dim(2),   x.dim(3),
                       cosines.dim(1), cosines.data<T>(), sines.data<T>(), T(sign),     layout,   y.data<T>()};
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, turn.heads * turn.size));
    parallel_for(x.dim(0) * turn.positions, grain, [&](int64_t begin, int64_t end, int64_t) {
      if constexpr (sizeof(T) == sizeof(float)) {
        HWY_DYNAMIC_DISPATCH(turn_float)(turn, begin, end);
      } else {
        HWY_DYNAMIC_DISPATCH(turn_double)(turn, begin, end);
      }
    });
  });
}

}  // namespace attune::cpu
#endif
