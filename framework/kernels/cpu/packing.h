// B of a product in panels, as the tiles of gemm.cpp read it; compiled once per instruction set, as simd.h.

#if defined(ATTUNE_FRAMEWORK_KERNELS_CPU_PACKING_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ATTUNE_FRAMEWORK_KERNELS_CPU_PACKING_H_
#undef ATTUNE_FRAMEWORK_KERNELS_CPU_PACKING_H_
#else
#define ATTUNE_FRAMEWORK_KERNELS_CPU_PACKING_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstdint>

#include "framework/kernels/cpu/gemm.h"
#include "framework/kernels/cpu/panel.h"
#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace detail {

// Four rows of a 4 x 4 block in each 128-bit part: column q of the result is row q of every block.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void transpose_blocks(D d, V& a, V& b, V& c, V& e) {
  const hn::RepartitionToWide<D> wide;
  const auto ab_low = hn::BitCast(wide, hn::InterleaveLower(d, a, b));
  const auto ab_high = hn::BitCast(wide, hn::InterleaveUpper(d, a, b));
  const auto ce_low = hn::BitCast(wide, hn::InterleaveLower(d, c, e));
  const auto ce_high = hn::BitCast(wide, hn::InterleaveUpper(d, c, e));
  a = hn::BitCast(d, hn::InterleaveLower(wide, ab_low, ce_low));
  b = hn::BitCast(d, hn::InterleaveUpper(wide, ab_low, ce_low));
  c = hn::BitCast(d, hn::InterleaveLower(wide, ab_high, ce_high));
  e = hn::BitCast(d, hn::InterleaveUpper(wide, ab_high, ce_high));
}

// Four floats from each of the columns j, j + 4, j + 8, ...: one 128-bit part per column.
template <class D>
HWY_INLINE hn::Vec<D> load_parts(D d, const float* from, int64_t step) {
  if constexpr (sizeof(hn::Vec<D>) == 16) {
    (void)step;
    return hn::LoadU(d, from);
  } else {
    const hn::Half<D> half;
    constexpr int64_t parts = sizeof(hn::Vec<D>) / 32;
    return hn::Combine(d, load_parts(half, from + parts * step, step), load_parts(half, from, step));
  }
}

}  // namespace detail

/// packed[k][j] = b(k, j) for one panel of `width` columns, zeros behind n. Columns of B are contiguous.
template <class T>
void transpose_panel(const Operand<T>& b, int64_t depth, int64_t n, int64_t width, T* HWY_RESTRICT packed) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t j0 = 0;
  int64_t k_done = 0;
  if constexpr (sizeof(T) == 4) {
    k_done = depth / 4 * 4;
    for (; j0 + lanes <= n; j0 += lanes) {
      const T* HWY_RESTRICT from = b.data + j0 * b.col;
      T* HWY_RESTRICT to = packed + j0;
      for (int64_t k = 0; k < k_done; k += 4) {
        auto r0 = detail::load_parts(d, from + k, 4 * b.col);
        auto r1 = detail::load_parts(d, from + k + b.col, 4 * b.col);
        auto r2 = detail::load_parts(d, from + k + 2 * b.col, 4 * b.col);
        auto r3 = detail::load_parts(d, from + k + 3 * b.col, 4 * b.col);
        detail::transpose_blocks(d, r0, r1, r2, r3);
        // So many columns side by side are more than the processor fetches by itself: the next cache line of each.
        for (int64_t i = 0; i < 4; ++i) hwy::Prefetch(from + k + 16 + (k % 16 + i) * b.col);
        hn::Store(r0, d, to + k * width);
        hn::Store(r1, d, to + (k + 1) * width);
        hn::Store(r2, d, to + (k + 2) * width);
        hn::Store(r3, d, to + (k + 3) * width);
      }
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    const T* HWY_RESTRICT from = b.data + k;
    T* HWY_RESTRICT to = packed + k * width;
    for (int64_t j = k < k_done ? j0 : 0; j < n; ++j) to[j] = from[j * b.col];
    for (int64_t j = n; j < width; ++j) to[j] = 0;
  }
}

/// Packs B [depth, n] panel behind panel, the last one filled up to whole vectors by zeros.
template <class T>
void pack_columns(const Operand<T>& b, int64_t depth, int64_t n, T* to) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t panel = kPanel * lanes;
  const auto over_panels = [&](auto&& pack_panel) HWY_ATTR {
    for (int64_t j = 0; j < n; j += panel) {
      const int64_t columns = std::min(panel, n - j);
      pack_panel(j, columns, (columns + lanes - 1) / lanes * lanes);
    }
  };
  if (b.col != 1) {
    return over_panels([&](int64_t j, int64_t columns, int64_t width) {
      transpose_panel(b.at(0, j), depth, columns, width, to + depth * j);
    });
  }
  // Row by row over all panels, as B lies in memory, which fetches what comes next by itself.
  for (int64_t k = 0; k < depth; ++k) {
    over_panels([&](int64_t j, int64_t columns, int64_t width) HWY_ATTR {
      const T* HWY_RESTRICT from = b.data + k * b.row + j;
      T* HWY_RESTRICT row = to + depth * j + k * width;
      int64_t i = 0;
      for (; i + lanes <= columns; i += lanes) hn::Store(hn::LoadU(d, from + i), d, row + i);
      for (; i < columns; ++i) row[i] = from[i];
      for (; i < width; ++i) row[i] = 0;
    });
  }
}

/// Elements that it takes.
template <class T>
int64_t packed_size(int64_t depth, int64_t n) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  return depth * ((n + lanes - 1) / lanes * lanes);
}

/// Whether all of n elements of whole vectors are.
template <class T>
bool all_finite(const T* data, int64_t n) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum = hn::Zero(d);  // x * 0 is 0 or NaN
  for (int64_t i = 0; i < n; i += lanes) sum = hn::MulAdd(hn::Load(d, data + i), hn::Zero(d), sum);
  return hn::AllTrue(d, hn::Eq(sum, hn::Zero(d)));
}

}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
