#include "framework/kernels/cpu/gemm.h"

#include <hwy/cache_control.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/gemm.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/packing.h"
#include "framework/kernels/cpu/rows.h"
#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

constexpr int kRows = 6;        // see kPanel
constexpr int kRowsNarrow = 8;  // for panels of one or two vectors, which leave registers free

// Block sizes in elements of float32: a packed panel in the first-level cache, a packed block of B and the rows of A
// that meet it in the second-level cache.
constexpr int64_t kDepth = kPackedDepth;
constexpr int64_t kColumns = 1024;
constexpr int64_t kRowBlock = 240;

template <class T>
struct Tile {
  const T* a;
  int64_t a_row;
  int64_t a_col;
  const T* b;  // packed: `width` values for every k
  int64_t k;
  T* c;
  int64_t ldc;
  int64_t n;  // valid columns
  T alpha;
  bool accumulate;
  const T* bias;
  bool relu;
};

/// to = sums (+ bias) (+ to when accumulate) (then max(0, .) when relu), n elements.
template <class T>
void finish_row(const T* sums, int64_t n, const T* bias, bool accumulate, bool relu, T* to) {
  const hn::ScalableTag<T> d;
  over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
    auto y = load(sums);
    if (bias != nullptr) y = hn::Add(y, load(bias));
    if (accumulate) y = hn::Add(y, load(to));
    if (relu) y = hn::Max(y, hn::Zero(d));
    store(y, to);
  });
}

template <class T, int R, int P, bool kUnitColumn>
HWY_INLINE void tile_kernel(const Tile<T>& t) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  V acc[R][P];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) acc[r][p] = hn::Zero(d);
  }
  const T* HWY_RESTRICT b = t.b;
  const int64_t a_row = kUnitColumn ? t.a_row : 1;
  const int64_t a_col = kUnitColumn ? 1 : t.a_col;
  const T* HWY_RESTRICT a = t.a;
  // C and the rows of A behind these may come from far away: they are on their way while the sums are made, a few cache
  // lines at a time, so that B does not wait for them. Behind the last row nothing is harmed.
  constexpr int64_t kStretch = 16;
  for (int64_t begin = 0, row = 0; begin < t.k; begin += kStretch, ++row) {
    if constexpr (kUnitColumn) {
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) hwy::Prefetch(a + (R + r) * a_row);
    }
    if (row < R) {
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) hwy::Prefetch(t.c + row * t.ldc + p * lanes);
    }
    const int64_t count = std::min(kStretch, t.k - begin);
    for (int64_t k = 0; k < count; ++k) {
      V column[P];
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) column[p] = hn::Load(d, b + p * lanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const V x = hn::Set(d, a[r * a_row]);
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) acc[r][p] = hn::MulAdd(x, column[p], acc[r][p]);
      }
      a += a_col;
      b += P * lanes;
    }
  }
  const V alpha = hn::Set(d, t.alpha);
  V bias[P];
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) bias[p] = t.bias == nullptr ? hn::Zero(d) : hn::LoadU(d, t.bias + p * lanes);
  if (t.n < P * lanes) {
    HWY_ALIGN T sums[R * P * (HWY_MAX_BYTES / sizeof(T))];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) hn::Store(hn::MulAdd(acc[r][p], alpha, bias[p]), d, sums + (r * P + p) * lanes);
    }
    for (int r = 0; r < R; ++r) {
      finish_row<T>(sums + r * P * lanes, t.n, nullptr, t.accumulate, t.relu, t.c + r * t.ldc);
    }
    return;
  }
  // Short sums are common, and then what is done behind them counts: nothing is asked per vector.
  const auto finish = [&](auto accumulate, auto relu) HWY_ATTR {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        T* to = t.c + r * t.ldc + p * lanes;
        V y = hn::MulAdd(acc[r][p], alpha, bias[p]);
        if constexpr (accumulate()) y = hn::Add(y, hn::LoadU(d, to));
        if constexpr (relu()) y = hn::Max(y, hn::Zero(d));
        hn::StoreU(y, d, to);
      }
    }
  };
  if (t.accumulate) {
    t.relu ? finish(std::true_type(), std::true_type()) : finish(std::true_type(), std::false_type());
  } else {
    t.relu ? finish(std::false_type(), std::true_type()) : finish(std::false_type(), std::false_type());
  }
}

template <class T, int P, bool kUnitColumn>
void run_tile(const Tile<T>& t, int64_t rows) {
  switch (rows) {
    case 1:
      return tile_kernel<T, 1, P, kUnitColumn>(t);
    case 2:
      return tile_kernel<T, 2, P, kUnitColumn>(t);
    case 3:
      return tile_kernel<T, 3, P, kUnitColumn>(t);
    case 4:
      return tile_kernel<T, 4, P, kUnitColumn>(t);
    case 5:
      return tile_kernel<T, 5, P, kUnitColumn>(t);
    case 6:
      return tile_kernel<T, 6, P, kUnitColumn>(t);
    default:
      break;
  }
  if constexpr (P <= 2 && kPanel == 4) {
    if (rows == 7) return tile_kernel<T, 7, P, kUnitColumn>(t);
    return tile_kernel<T, 8, P, kUnitColumn>(t);
  }
}

// All rows of one block against one packed panel. Rows are dealt out evenly, so that no tile is left nearly empty.
template <class T, int P>
void run_panel(Tile<T> t, int64_t rows) {
  constexpr int64_t kTallest = P <= 2 && kPanel == 4 ? kRowsNarrow : kRows;
  const int64_t tiles = (rows + kTallest - 1) / kTallest;
  const T* a = t.a;
  T* c = t.c;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t begin = rows * i / tiles;
    const int64_t end = rows * (i + 1) / tiles;
    t.a = a + begin * t.a_row;
    t.c = c + begin * t.ldc;
    if (t.a_col == 1) {
      run_tile<T, P, true>(t, end - begin);
    } else {
      run_tile<T, P, false>(t, end - begin);
    }
  }
}

template <class T>
void run_panels(const Tile<T>& t, int64_t rows, int vectors) {
  if constexpr (kPanel == 4) {
    if (vectors == 4) return run_panel<T, 4>(t, rows);
    if (vectors == 3) return run_panel<T, 3>(t, rows);
  }
  if (vectors == 2) return run_panel<T, 2>(t, rows);
  run_panel<T, 1>(t, rows);
}

// The product of one panel that holds NaN or infinity, where zeros of A take part in nothing. Element by element with
// the tile's own operations, so that what does not meet such a number is bitwise what the tile gives.
template <class T>
void run_exact(const Tile<T>& t, int64_t rows, int64_t width) {
  const hn::CappedTag<T, 1> d;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < t.n; ++j) {
      auto sum = hn::Zero(d);
      for (int64_t k = 0; k < t.k; ++k) {
        const T a = t.a[i * t.a_row + k * t.a_col];
        if (a != 0) sum = hn::MulAdd(hn::Set(d, a), hn::Set(d, t.b[k * width + j]), sum);
      }
      T& c = t.c[i * t.ldc + j];
      auto y = hn::MulAdd(sum, hn::Set(d, t.alpha), hn::Set(d, t.bias == nullptr ? T{0} : t.bias[j]));
      if (t.accumulate) y = hn::Add(y, hn::Set(d, c));
      if (t.relu) y = hn::Max(y, hn::Zero(d));
      c = hn::GetLane(y);
    }
  }
}

// A block of B in packed panels: the rows first ... first + depth - 1 of `rows` that were packed together.
template <class T>
struct PackedBlock {
  const T* data;
  int64_t rows;
  int64_t first;
  int64_t depth;
};

// A [rows, depth] whose columns are contiguous, column behind column: read where it lies, it would be a cache line of
// its own, and often a page, for every few elements.
template <class T>
Operand<T> gather_columns(const Operand<T>& a, int64_t rows, int64_t depth, T* to) {
  for (int64_t k = 0; k < depth; ++k) std::copy_n(a.data + k * a.col, rows, to + k * rows);
  return {to, 1, rows};
}

// Columns n0 ... n1 - 1 of C from a packed block of B that begins at row k0 of the product. `columns`: memory for
// kRowBlock * depth elements where columns of A are contiguous.
template <class T>
void run_packed(const Product<T>& p, const PackedBlock<T>& packed, int64_t k0, int64_t n0, int64_t n1, bool exact,
                T* columns) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t panel = kPanel * lanes;
  const int64_t depth = packed.depth;
  const bool last = k0 + depth >= p.k;
  HWY_ALIGN T tail_bias[kPanel * HWY_MAX_BYTES / sizeof(T)];
  for (int64_t i = 0; i < p.m; i += kRowBlock) {
    const int64_t rows = std::min(kRowBlock, p.m - i);
    Operand<T> a = p.a.at(i, k0);
    if (a.col != 1 && n1 - n0 > panel) a = gather_columns(a, rows, depth, columns);
    const T* from = packed.data;
    for (int64_t j = n0; j < n1; j += panel) {
      const int64_t n = std::min(panel, n1 - j);
      const int64_t vectors = (n + lanes - 1) / lanes;
      const T* bias = last && p.bias != nullptr ? p.bias + j : nullptr;
      if (bias != nullptr && n != vectors * lanes) {
        std::copy(bias, bias + n, tail_bias);
        bias = tail_bias;
      }
      const T* panel_rows = from + packed.first * vectors * lanes;
      const Tile<T> tile{a.data,  a.row,
                         a.col,   panel_rows,
                         depth,   p.c + i * p.ldc + j,
                         p.ldc,   n,
                         p.alpha, p.accumulate || k0 > 0,
                         bias,    last && p.relu};
      if (exact) {
        run_exact(tile, rows, vectors * lanes);
      } else {
        run_panels(tile, rows, static_cast<int>(vectors));
      }
      from += packed.rows * vectors * lanes;
    }
    if (last && n1 == p.n && p.epilogue.run != nullptr) p.epilogue.run(p.epilogue.context, i, i + rows);
  }
}

template <class T>
void run_gemm(const Product<T>& p) {
  const int64_t gathered = p.a.col == 1 ? 0 : kRowBlock * (p.packed != nullptr ? p.k : std::min(kDepth, p.k));
  if (p.packed != nullptr) {
    const int64_t rows = p.packed_rows > 0 ? p.packed_rows : p.k;
    T* memory = gathered == 0 ? nullptr : scratch<T>(0, gathered);
    return run_packed<T>(p, {p.packed, rows, p.packed_row, p.k}, 0, 0, p.n, p.exact_zeros, memory);
  }
  T* memory = scratch<T>(0, gathered + packed_size<T>(std::min(kDepth, p.k), std::min(kColumns, p.n)));
  T* packed = memory + gathered;
  for (int64_t n0 = 0; n0 < p.n; n0 += kColumns) {
    const int64_t n1 = std::min(p.n, n0 + kColumns);
    for (int64_t k0 = 0; k0 == 0 || k0 < p.k; k0 += kDepth) {
      const int64_t depth = std::min(p.k - k0, kDepth);
      pack_columns(p.b.at(k0, n0), depth, n1 - n0, packed);
      const bool exact = p.exact_zeros && !all_finite(packed, packed_size<T>(depth, n1 - n0));
      run_packed<T>(p, {packed, depth, 0, depth}, k0, n0, n1, exact, memory);
    }
  }
}

// C of few rows, where the columns of B are contiguous: C^T = B^T A^T reads them where they lie, and only A is packed.
template <class T>
void run_few_rows(const Product<T>& p) {
  constexpr int64_t kStep = 64;  // columns of C at a time, which stay in the first-level cache
  T* columns = scratch<T>(0, 2 * kStep * p.m + packed_size<T>(p.k, p.m));
  T* rows = columns + kStep * p.m;
  T* packed = rows + kStep * p.m;
  pack_columns(p.a.transposed(), p.k, p.m, packed);
  for (int64_t j = 0; j < p.n; j += kStep) {
    const int64_t n = std::min(kStep, p.n - j);
    Product<T> part;
    part.m = n;
    part.n = p.m;
    part.k = p.k;
    part.a = p.b.at(0, j).transposed();
    part.c = columns;
    part.ldc = p.m;
    part.alpha = p.alpha;
    run_packed<T>(part, {packed, p.k, 0, p.k}, 0, 0, p.m, false, nullptr);
    transpose_panel<T>({columns, 1, p.m}, p.m, n, kStep, rows);
    for (int64_t i = 0; i < p.m; ++i) {
      const T* bias = p.bias == nullptr ? nullptr : p.bias + j;
      finish_row<T>(rows + i * kStep, n, bias, p.accumulate, p.relu, p.c + i * p.ldc + j);
    }
  }
}

template <class T>
bool run_pack(const Operand<T>& b, int64_t k, int64_t n, T* out) {
  pack_columns(b, k, n, out);
  return all_finite(out, packed_size<T>(k, n));
}

template <class T>
T run_largest_column(const T* packed, int64_t k, int64_t n) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto largest = hn::Zero(d);
  for (int64_t j = 0; j < n; j += kPanel * lanes) {
    const int64_t width = std::min(kPanel * lanes, (n - j + lanes - 1) / lanes * lanes);
    for (int64_t column = 0; column < width; column += lanes) {
      auto sum = hn::Zero(d);
      for (int64_t i = 0; i < k; ++i) {
        const auto x = hn::Load(d, packed + i * width + column);
        sum = hn::MulAdd(x, x, sum);
      }
      largest = hn::Max(largest, sum);
    }
    packed += k * width;
  }
  return std::sqrt(hn::GetLane(hn::MaxOfLanes(d, largest)));
}

void gemm_float(const Product<float>& p) { run_gemm(p); }
void gemm_double(const Product<double>& p) { run_gemm(p); }
void few_rows_float(const Product<float>& p) { run_few_rows(p); }
void few_rows_double(const Product<double>& p) { run_few_rows(p); }
bool pack_float(const Operand<float>& b, int64_t k, int64_t n, float* out) { return run_pack(b, k, n, out); }
bool pack_double(const Operand<double>& b, int64_t k, int64_t n, double* out) { return run_pack(b, k, n, out); }
float largest_float(const float* packed, int64_t k, int64_t n) { return run_largest_column(packed, k, n); }
double largest_double(const double* packed, int64_t k, int64_t n) { return run_largest_column(packed, k, n); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(gemm_float);
HWY_EXPORT(gemm_double);
HWY_EXPORT(few_rows_float);
HWY_EXPORT(few_rows_double);
HWY_EXPORT(pack_float);
HWY_EXPORT(pack_double);
HWY_EXPORT(largest_float);
HWY_EXPORT(largest_double);

void gemm(const Product<float>& product) { HWY_DYNAMIC_DISPATCH(gemm_float)(product); }
void gemm(const Product<double>& product) { HWY_DYNAMIC_DISPATCH(gemm_double)(product); }

void gemm_few_rows(const Product<float>& product) { HWY_DYNAMIC_DISPATCH(few_rows_float)(product); }
void gemm_few_rows(const Product<double>& product) { HWY_DYNAMIC_DISPATCH(few_rows_double)(product); }

bool pack(const Operand<float>& b, int64_t k, int64_t n, float* out) {
  return HWY_DYNAMIC_DISPATCH(pack_float)(b, k, n, out);
}
bool pack(const Operand<double>& b, int64_t k, int64_t n, double* out) {
  return HWY_DYNAMIC_DISPATCH(pack_double)(b, k, n, out);
}

float largest_column(const float* packed, int64_t k, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(largest_float)(packed, k, n);
}
double largest_column(const double* packed, int64_t k, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(largest_double)(packed, k, n);
}

}  // namespace attune::cpu
#endif
