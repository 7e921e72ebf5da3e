#include "framework/kernels/cpu/conv_product.h"

#include <algorithm>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/conv_product.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/panel.h"
#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

/// Rows of a tile of P vectors: a narrow one leaves registers for more.
template <int P>
inline constexpr int kTall = kPanel == 4 && P < 4 ? 8 : 6;

/// Elements of the windows that a panel of B meets at a time: the panel, 192 KiB of it, stays in the second-level cache
/// while all rows pass by.
constexpr int64_t kDeep = 768;

/// f(std::integral_constant<int, P>) for P = vectors, 1 ... kPanel.
template <class F>
HWY_INLINE void by_width(int64_t vectors, F f) {
  if constexpr (kPanel == 4) {
    if (vectors == 4) return f(std::integral_constant<int, 4>());
    if (vectors == 3) return f(std::integral_constant<int, 3>());
  }
  if (vectors == 2) return f(std::integral_constant<int, 2>());
  f(std::integral_constant<int, 1>());
}

/// What a panel of B makes of `length` elements, from `first` on, of some runs.
template <class T>
struct PanelPart {
  const int64_t* offsets;
  int64_t count;
  int64_t first;
  int64_t length;
  const T* b;
  int64_t column;  // of C
  int64_t n;
  bool accumulate;
  const T* bias;  // of the panel's columns, or null
};

template <class T, int R, int P>
HWY_INLINE void window_tile(const PanelPart<T>& part, const T* const* a, T* const* c) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V acc[R][P];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) acc[r][p] = hn::Zero(d);
  }
  const T* HWY_RESTRICT b = part.b;
  for (int64_t i = 0; i < part.count; ++i) {
    const int64_t at = part.offsets[i] + part.first;
    const T* from[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) from[r] = a[r] + at;
    for (int64_t k = 0; k < part.length; ++k) {
      V column[P];
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) column[p] = hn::Load(d, b + p * lanes);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const V x = hn::Set(d, from[r][k]);
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) acc[r][p] = hn::MulAdd(x, column[p], acc[r][p]);
      }
      b += P * lanes;
    }
  }
  const int64_t tail = part.n - (P - 1) * lanes;  // elements of the last vector
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    T* to = c[r] + part.column;
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      V y = acc[r][p];
      const int64_t j = p * lanes;
      if (p + 1 < P || tail == lanes) {
        if (part.bias != nullptr) y = hn::Add(y, hn::LoadU(d, part.bias + j));
        if (part.accumulate) y = hn::Add(y, hn::LoadU(d, to + j));
        hn::StoreU(y, d, to + j);
      } else {
        const auto rest = static_cast<size_t>(tail);
        if (part.bias != nullptr) y = hn::Add(y, LoadTail(d, part.bias + j, rest));
        if (part.accumulate) y = hn::Add(y, LoadTail(d, to + j, rest));
        StoreTail(y, d, to + j, rest);
      }
    }
  }
}

template <class T>
void run_windows(const WindowProduct<T>& w) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t length = w.runs.length;
  // Whole runs together, or a long one in parts.
  const int64_t together = std::max<int64_t>(1, kDeep / std::max<int64_t>(length, 1));
  for (int64_t run = 0; run < w.runs.count; run += together) {
    for (int64_t first = 0; first < length; first += kDeep) {
      PanelPart<T> part{};
      part.offsets = w.runs.offsets + run;
      part.count = std::min(together, w.runs.count - run);
      part.first = first;
      part.length = std::min(kDeep, length - first);
      part.accumulate = run + first > 0;
      const T* panel = w.b;
      for (int64_t j = 0; j < w.n; j += kPanel * lanes) {
        part.n = std::min(kPanel * lanes, w.n - j);
        part.column = j;
        part.bias = w.bias != nullptr && !part.accumulate ? w.bias + j : nullptr;
        const int64_t vectors = (part.n + lanes - 1) / lanes;
        part.b = panel + (run * length + first) * vectors * lanes;
        by_width(vectors, [&](auto width) HWY_ATTR {
          constexpr int P = width();
          for (int64_t r = 0; r < w.rows; r += kTall<P>) window_tile<T, kTall<P>, P>(part, w.a + r, w.c + r);
        });
        panel += w.runs.elements() * vectors * lanes;
      }
    }
  }
}

/// Adds rows `skip` ... R - 1 of a tile of C at `c`: the sums of channels row, row + 1, ... and of n elements behind
/// offset `at` of the windows.
template <class T, int R, int P>
HWY_INLINE void line_tile(const LineProduct<T>& w, int64_t row, int64_t skip, int64_t at, int64_t n, T* c) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V acc[R][P];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) acc[r][p] = hn::Zero(d);
  }
  for (int64_t i = 0; i < w.lines; ++i) {
    const T* HWY_RESTRICT a = w.a[i] + row;
    const T* HWY_RESTRICT b = w.b[i] + at;
    for (int64_t pixel = 0; pixel < w.pixels; ++pixel) {
      V column[P];
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) column[p] = hn::LoadU(d, b + p * lanes);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const V x = hn::Set(d, a[r]);
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) acc[r][p] = hn::MulAdd(x, column[p], acc[r][p]);
      }
      a += w.a_step;
      b += w.b_step;
    }
  }
  const int64_t step = w.runs.elements();
  const int64_t tail = n - (P - 1) * lanes;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    if (r < skip) continue;
    T* to = c + r * step;
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const int64_t j = p * lanes;
      if (p + 1 < P || tail == lanes) {
        hn::StoreU(hn::Add(acc[r][p], hn::LoadU(d, to + j)), d, to + j);
      } else {
        const auto rest = static_cast<size_t>(tail);
        StoreTail(hn::Add(acc[r][p], LoadTail(d, to + j, rest)), d, to + j, rest);
      }
    }
  }
}

template <class T, int P>
void line_rows(const LineProduct<T>& w, int64_t at, int64_t n, T* c) {
  constexpr int64_t R = kTall<P>;
  const int64_t step = w.runs.elements();
  if (w.rows < R) {
    for (int64_t row = 0; row < w.rows; ++row) line_tile<T, 1, P>(w, row, 0, at, n, c + row * step);
    return;
  }
  for (int64_t begin = 0; begin < w.rows; begin += R) {
    const int64_t row = std::min(begin, w.rows - R);  // the last tile overlaps the one before
    line_tile<T, R, P>(w, row, begin - row, at, n, c + row * step);
  }
}

template <class T>
void run_lines(const LineProduct<T>& w) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < w.runs.count; ++i) {
    for (int64_t j = 0; j < w.runs.length; j += kPanel * lanes) {
      const int64_t n = std::min(kPanel * lanes, w.runs.length - j);
      by_width((n + lanes - 1) / lanes, [&](auto width) HWY_ATTR {
        line_rows<T, width()>(w, w.runs.offsets[i] + j, n, w.c + i * w.runs.length + j);
      });
    }
  }
}

void windows_float(const WindowProduct<float>& product) { run_windows(product); }
void windows_double(const WindowProduct<double>& product) { run_windows(product); }
void lines_float(const LineProduct<float>& product) { run_lines(product); }
void lines_double(const LineProduct<double>& product) { run_lines(product); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(windows_float);
HWY_EXPORT(windows_double);
HWY_EXPORT(lines_float);
HWY_EXPORT(lines_double);

void multiply_windows(const WindowProduct<float>& product) { HWY_DYNAMIC_DISPATCH(windows_float)(product); }
void multiply_windows(const WindowProduct<double>& product) { HWY_DYNAMIC_DISPATCH(windows_double)(product); }
void add_lines(const LineProduct<float>& product) { HWY_DYNAMIC_DISPATCH(lines_float)(product); }
void add_lines(const LineProduct<double>& product) { HWY_DYNAMIC_DISPATCH(lines_double)(product); }

}  // namespace attune::cpu
#endif
