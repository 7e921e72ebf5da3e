// Walks over a row in vectors; compiled once per instruction set, as simd.h.

#if defined(ATTUNE_FRAMEWORK_KERNELS_CPU_ROWS_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ATTUNE_FRAMEWORK_KERNELS_CPU_ROWS_H_
#undef ATTUNE_FRAMEWORK_KERNELS_CPU_ROWS_H_
#else
#define ATTUNE_FRAMEWORK_KERNELS_CPU_ROWS_H_
#endif

#include <cstdint>
#include <limits>

#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {

/// f(load, store, valid) for every vector of a row of n elements: load(p) and store(v, p) move the elements of row p,
/// valid(v) zeroes the lanes behind the row.
template <class T, class F>
HWY_INLINE void over_row(int64_t n, F f) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t j = 0;
  for (; j + lanes <= n; j += lanes) {
    f([&](const T* p) HWY_ATTR { return hn::LoadU(d, p + j); }, [&](V v, T* p) HWY_ATTR { hn::StoreU(v, d, p + j); },
      [](V v) HWY_ATTR { return v; });
  }
  if (j < n) {
    const auto rest = static_cast<size_t>(n - j);
    f([&](const T* p) HWY_ATTR { return LoadTail(d, p + j, rest); },
      [&](V v, T* p) HWY_ATTR { StoreTail(v, d, p + j, rest); },
      [&](V v) HWY_ATTR { return hn::IfThenElseZero(hn::FirstN(d, rest), v); });
  }
}

template <class T>
HWY_INLINE T lane_sum(hn::Vec<hn::ScalableTag<T>> v) {
  const hn::ScalableTag<T> d;
  return hn::GetLane(hn::SumOfLanes(d, v));
}

/// Largest element, -infinity for an empty row. NaN may be passed over: what follows turns it up again.
template <class T>
HWY_INLINE T row_max(const T* x, int64_t n) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto largest = hn::Set(d, -std::numeric_limits<T>::infinity());
  int64_t j = 0;
  // Four chains: one comparison waits for the one before it.
  auto a = largest, b = largest, c = largest;
  for (; j + 4 * lanes <= n; j += 4 * lanes) {
    largest = hn::Max(largest, hn::LoadU(d, x + j));
    a = hn::Max(a, hn::LoadU(d, x + j + lanes));
    b = hn::Max(b, hn::LoadU(d, x + j + 2 * lanes));
    c = hn::Max(c, hn::LoadU(d, x + j + 3 * lanes));
  }
  largest = hn::Max(hn::Max(largest, a), hn::Max(b, c));
  for (; j + lanes <= n; j += lanes) largest = hn::Max(largest, hn::LoadU(d, x + j));
  T top = hn::GetLane(hn::MaxOfLanes(d, largest));
  for (; j < n; ++j) top = x[j] > top ? x[j] : top;
  return top;
}

/// True when every element is exactly zero.
template <class T>
HWY_INLINE bool all_zero_row(const T* x, int64_t n) {
  const hn::ScalableTag<T> d;
  auto any = hn::Zero(d);
  over_row<T>(n, [&](auto load, auto, auto) HWY_ATTR { any = hn::Or(any, hn::Abs(load(x))); });
  return hn::AllTrue(d, hn::Eq(any, hn::Zero(d)));
}

}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
