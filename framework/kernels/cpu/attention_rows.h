// Blocks of attention scores, row by row; compiled once per instruction set, as simd.h.

#if defined(ATTUNE_FRAMEWORK_KERNELS_CPU_ATTENTION_ROWS_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ATTUNE_FRAMEWORK_KERNELS_CPU_ATTENTION_ROWS_H_
#undef ATTUNE_FRAMEWORK_KERNELS_CPU_ATTENTION_ROWS_H_
#else
#define ATTUNE_FRAMEWORK_KERNELS_CPU_ATTENTION_ROWS_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "framework/kernels/cpu/attention_head.h"
#include "framework/kernels/cpu/gemm.h"
#include "framework/kernels/cpu/philox.h"
#include "framework/kernels/cpu/rows.h"
#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {

/// p = scale q k^T, `q` being the block's queries [rows, key_size], rows next to each other.
template <class T>
HWY_INLINE void multiply_scores(const Head<T>& head, const Block<T>& block, const T* q, const T* packed_keys) {
  Product<T> scores;
  scores.m = block.rows;
  scores.n = block.columns;
  scores.k = head.key_size;
  scores.a = {q, head.key_size, 1};
  scores.packed = packed_keys + block.s0 * head.key_size;
  scores.c = block.p;
  scores.ldc = block.step;
  scores.alpha = static_cast<T>(head.spec->scale);
  gemm(scores);
}

/// Raw products of row r become scores (softcap, score function, bias); what a mask other than a range, or a bias of
/// -infinity, forbids becomes -infinity. [begin, end): the columns that range masks allow; outside nothing is touched.
/// `slope` (optional) receives the derivative of softcap and score function.
template <class T>
HWY_INLINE void finish_scores(const Head<T>& head, const Block<T>& block, int64_t r, int64_t& begin, int64_t& end,
                              T* slope) {
  const hn::ScalableTag<T> d;
  const int64_t t = block.t0 + r;
  begin = std::clamp<int64_t>(head.first_key(t) - block.s0, 0, block.columns);
  end = std::clamp<int64_t>(head.last_key(t) - block.s0, begin, block.columns);
  T* row = block.row(r);
  if (head.spec->softcap > 0) {
    const auto cap = hn::Set(d, static_cast<T>(head.spec->softcap));
    const auto inverse = hn::Set(d, static_cast<T>(1 / head.spec->softcap));
    const auto one = hn::Set(d, T{1});
    over_row<T>(end - begin, [&](auto load, auto store, auto) HWY_ATTR {
      const auto y = Tanh(d, hn::Mul(load(row + begin), inverse));
      store(hn::Mul(y, cap), row + begin);
      if (slope != nullptr) store(hn::NegMulAdd(y, y, one), slope + begin);
    });
  } else if (slope != nullptr) {
    std::fill(slope + begin, slope + end, T{1});
  }
  if (head.spec->score) {
    head.spec->score(ScoreRow<T>{row + begin, slope != nullptr ? slope + begin : nullptr, static_cast<int>(end - begin),
                                 head.place(t, block.s0 + begin)});
  }
  if (head.bias != nullptr) {
    const T* bias = head.bias + t * head.bias_row + block.s0 * head.bias_col;
    // Whatever the product is, NaN or infinity.
    constexpr T kLow = -std::numeric_limits<T>::infinity();
    for (int64_t j = begin; j < end; ++j) {
      const T added = bias[j * head.bias_col];
      row[j] = added == kLow ? kLow : row[j] + added;
    }
  }
  if (block.allowed != nullptr) {
    const bool* allowed = block.allowed + r * block.columns;
    for (int64_t j = begin; j < end; ++j) row[j] = allowed[j] ? row[j] : -std::numeric_limits<T>::infinity();
  }
}

/// |q k| <= |q| |k|: where that bounds the scores of a row by this much, the bound takes the place of their maximum,
/// which need not be found then. What lies twice as far below it is 1e-26: no underflow, values included.
inline constexpr double kScoreBound = 30;
/// Below so many keys finding the bound takes longer than the maxima.
inline constexpr int64_t kBoundedKeys = 128;

/// Bound of the scores for a query of norm 1; infinite where there is none, or no use for it. packed_keys: k^T, finite.
template <class T>
T score_bound(const Head<T>& head, const T* packed_keys) {
  const bool plain = head.spec->softcap == 0 && !head.spec->score && head.bias == nullptr;
  if (!plain || head.keys < kBoundedKeys) return std::numeric_limits<T>::infinity();
  return std::abs(static_cast<T>(head.spec->scale)) * largest_column(packed_keys, head.key_size, head.keys);
}

/// Sum of x y.
template <class T>
HWY_INLINE T dot_rows(const T* x, const T* y, int64_t n) {
  const hn::ScalableTag<T> d;
  auto total = hn::Zero(d);
  over_row<T>(n, [&](auto load, auto, auto) HWY_ATTR { total = hn::MulAdd(load(x), load(y), total); });
  return lane_sum<T>(total);
}

/// How far below the shift of their row scores may lie.
enum class Depth : uint8_t { kAny, kBounded };

/// row[j] = exp(row[j] - largest) inside [begin, end), where no element is above `largest`, 0 outside; returns the sum.
/// log_sum: the log of such a sum, or nothing; with it the exponentials are weights. It is not added to `largest`: the
/// sum would be rounded to what a score of that size can tell apart. kBounded: none is more than 80 below either.
template <Depth kDepth = Depth::kAny, class T, class... LogSum>
HWY_INLINE T exponentiate(T* row, int64_t begin, int64_t end, int64_t columns, T largest, LogSum... log_sum) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int64_t kWide = 4;
  const auto top = hn::Set(d, largest);
  const auto below = [&](V x) HWY_ATTR {
    x = hn::Sub(x, top);
    if constexpr (sizeof...(log_sum) == 1) x = hn::Sub(x, hn::Set(d, log_sum...));
    return x;
  };
  const auto exponentials = [d](auto& x) HWY_ATTR {
    if constexpr (kDepth == Depth::kBounded) {
      ExpBounded(d, x);
    } else {
      ExpNonPositive(d, x);
    }
  };
  V totals[kWide] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  int64_t j = begin;
  for (; j + kWide * lanes <= end; j += kWide * lanes) {
    V x[kWide];
#pragma GCC unroll 4
    for (int64_t i = 0; i < kWide; ++i) x[i] = below(hn::LoadU(d, row + j + i * lanes));
    exponentials(x);
#pragma GCC unroll 4
    for (int64_t i = 0; i < kWide; ++i) {
      hn::StoreU(x[i], d, row + j + i * lanes);
      totals[i] = hn::Add(totals[i], x[i]);
    }
  }
  auto total = hn::Add(hn::Add(totals[0], totals[1]), hn::Add(totals[2], totals[3]));
  over_row<T>(end - j, [&](auto load, auto store, auto valid) HWY_ATTR {
    V x[1] = {below(load(row + j))};
    exponentials(x);
    const auto e = valid(x[0]);
    total = hn::Add(total, e);
    store(e, row + j);
  });
  if (begin > 0) std::fill(row, row + begin, T{0});
  if (end < columns) std::fill(row + end, row + columns, T{0});
  return lane_sum<T>(total);
}

/// to = x factor
template <class T>
HWY_INLINE void scale_row(const T* x, int64_t n, T factor, T* to) {
  const hn::ScalableTag<T> d;
  const auto f = hn::Set(d, factor);
  over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR { store(hn::Mul(load(x), f), to); });
}

/// Rows of `x`, which lie as the block's do, times the dropout's scales of the block's weights.
template <class T>
HWY_INLINE void drop_block(const Head<T>& head, const Block<T>& block, T* x) {
  const DropoutSpec& dropout = head.spec->dropout;
  const DropoutScale scale(dropout.probability);
  const auto apply = [&](int64_t begin, int64_t n, T* values)
                         HWY_ATTR { DropoutRange(dropout.state, scale, begin, n, values, values); };
  const int64_t at = head.draw + block.t0 * head.keys + block.s0;
  if (block.step == head.keys) return apply(at, block.rows * head.keys, x);  // one run of the draw
  for (int64_t r = 0; r < block.rows; ++r) apply(at + r * head.keys, block.columns, x + r * block.step);
}

/// to = x, for rows too short to call memcpy for.
template <class T>
HWY_INLINE void copy_row(const T* x, int64_t n, T* to) {
  over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR { store(load(x), to); });
}

/// Copies rows next to each other: strided heads of many thousand bytes would share few sets of the first-level cache.
template <class T>
void gather_rows(const Rows<const T>& x, int64_t first, int64_t rows, int64_t width, T* to) {
  for (int64_t i = 0; i < rows; ++i) copy_row(x.row(first + i), width, to + i * width);
}

}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
