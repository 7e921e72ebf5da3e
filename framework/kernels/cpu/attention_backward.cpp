#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "framework/kernels/attention.h"
#include "framework/kernels/cpu/attention_head.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/attention_backward.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/attention_rows.h"

#ifndef ATTUNE_FRAMEWORK_KERNELS_CPU_ATTENTION_BACKWARD_CPP_
#define ATTUNE_FRAMEWORK_KERNELS_CPU_ATTENTION_BACKWARD_CPP_
namespace attune::cpu {
namespace {

// Two blocks of scores, the weights and their gradients, stay in the second-level cache.
constexpr int64_t kQueries = 96;
// Blocks of queries whose shares of dk and dv are added up in T; sums of more go on to double precision.
constexpr int64_t kLongSum = 64;
constexpr int64_t kKeys = 256;
static_assert(kKeys % kPackedStep == 0);

}  // namespace
}  // namespace attune::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

// A thread's memory for one head.
template <class T>
struct BackwardScratch {
  // Operands packed for products: across for q k^T and dy v^T.
  T* keys_across;
  T* values_across;
  T* keys;
  T* queries;
  T* outputs;
  // Blocks and gradients, rows next to each other.
  T* q;
  T* dy;
  T* weights;
  T* gradients;
  T* slope;
  T* dq;
  T* dk;
  T* dv;
  T* delta;
  double* long_sums;  // of dk and dv, one row after the other, where there are many blocks of queries
  bool* silent;       // rows of dy that are exactly zero
  bool* allowed;
  bool bounded = false;  // all scores, by kScoreBound
  bool finite_keys;
  bool finite_queries;
  bool finite_outputs;

  explicit BackwardScratch(const Head<T>& head) {
    const int64_t block = kQueries * (std::min(kKeys, head.keys) + 16);
    const int64_t key_columns = packed_columns(head.key_size);
    const int64_t value_columns = packed_columns(head.value_size);
    const int64_t sizes[] = {head.key_size * packed_columns(head.keys),
                             head.value_size * packed_columns(head.keys),
                             head.keys * key_columns,
                             head.queries * key_columns,
                             head.queries * value_columns,
                             head.queries * head.key_size,
                             head.queries * head.value_size,
                             block,
                             block,
                             head.has_slope() ? block : 0,
                             head.queries * head.key_size,
                             std::min(kKeys, head.keys) * head.key_size,
                             std::min(kKeys, head.keys) * head.value_size,
                             head.queries};
    constexpr auto round_up = [](int64_t n) { return (n + 15) / 16 * 16; };
    int64_t total = 0;
    for (const int64_t size : sizes) total += round_up(size);
    T* at = scratch<T>(2, total);
    T** const parts[] = {&keys_across, &values_across, &keys,  &queries, &outputs, &q,  &dy,
                         &weights,     &gradients,     &slope, &dq,      &dk,      &dv, &delta};
    static_assert(std::size(parts) == std::size(sizes));
    for (size_t i = 0; i < std::size(parts); ++i) {
      *parts[i] = at;
      at += round_up(sizes[i]);
    }
    const int64_t widths = head.key_size + head.value_size;
    const bool many = head.queries > kLongSum * kQueries;
    long_sums = many ? scratch<double>(5, std::min(kKeys, head.keys) * widths) : nullptr;
    silent = scratch<bool>(3, head.queries);
    allowed = scratch<bool>(4, block);
  }
};

template <class T>
bool all_bounded(const Head<T>& head, const BackwardScratch<T>& w) {
  const T bound = score_bound(head, w.keys_across);
  if (!std::isfinite(bound)) return false;
  T longest = 0;
  for (int64_t t = 0; t < head.queries; ++t) {
    const T* q = w.q + t * head.key_size;
    const T square = dot_rows(q, q, head.key_size);
    if (!(square <= std::numeric_limits<T>::max())) return false;
    longest = std::max(longest, square);
  }
  return bound * std::sqrt(longest) <= static_cast<T>(kScoreBound);
}

template <class T>
void prepare(const Head<T>& head, BackwardScratch<T>& w) {
  gather_rows(head.q, 0, head.queries, head.key_size, w.q);
  gather_rows(head.dy, 0, head.queries, head.value_size, w.dy);
  // delta = sum(P dP) = dy y, of whole rows at once.
  for (int64_t t = 0; t < head.queries; ++t) {
    const T* dy = w.dy + t * head.value_size;
    const T* y = head.y.row(t);
    w.silent[t] = all_zero_row(dy, head.value_size);
    w.delta[t] = w.silent[t] ? T{0} : dot_rows(dy, y, head.value_size);
  }
  if (head.weights == nullptr && pack({head.k.data, 1, head.k.step}, head.key_size, head.keys, w.keys_across)) {
    w.bounded = all_bounded(head, w);
  }
  pack({head.v.data, 1, head.v.step}, head.value_size, head.keys, w.values_across);
  w.finite_keys = pack({head.k.data, head.k.step, 1}, head.keys, head.key_size, w.keys);
  w.finite_queries = pack({w.q, head.key_size, 1}, head.queries, head.key_size, w.queries);
  w.finite_outputs = pack({w.dy, head.value_size, 1}, head.queries, head.value_size, w.outputs);
  std::fill_n(w.dq, head.queries * head.key_size, T{0});
  if (head.dbias != nullptr) std::fill_n(head.dbias, head.queries * head.keys, T{0});
}

// P of one block.
template <class T>
void weights_of_block(const Head<T>& head, const Block<T>& block, const BackwardScratch<T>& w) {
  const bool sloped = head.has_slope();
  if (head.weights == nullptr) multiply_scores(head, block, w.q + block.t0 * head.key_size, w.keys_across);
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t t = block.t0 + r;
    T* row = block.row(r);
    if (head.weights != nullptr) {
      const T* known = head.weights + t * head.keys + block.s0;
      if (w.silent[t]) {
        std::fill_n(row, block.columns, T{0});
      } else {
        copy_row(known, block.columns, row);
      }
      continue;
    }
    int64_t begin = 0;
    int64_t end = 0;
    finish_scores<T>(head, block, r, begin, end, sloped ? w.slope + r * block.step : nullptr);
    if (w.silent[t] || head.largest[t] == -std::numeric_limits<T>::infinity()) end = begin;
    if (w.bounded && block.allowed == nullptr) {
      exponentiate<Depth::kBounded>(row, begin, end, block.columns, head.largest[t], head.log_sums[t]);
    } else {
      exponentiate(row, begin, end, block.columns, head.largest[t], head.log_sums[t]);
    }
  }
}

// dP becomes dS, of the scores before softcap and score function.
template <class T>
void score_gradients(const Head<T>& head, const Block<T>& block, const BackwardScratch<T>& w) {
  const hn::ScalableTag<T> d;
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t t = block.t0 + r;
    const T* row = block.row(r);
    T* gradient = w.gradients + r * block.step;
    const auto delta = hn::Set(d, w.delta[t]);
    // y = P V, P = softmax(s): ds = P (dP - sum(P dP)); exactly 0 where P is, whatever the masked value held.
    over_row<T>(block.columns, [&](auto load, auto store, auto) HWY_ATTR {
      const auto p = load(row);
      const auto ds = hn::Mul(p, hn::Sub(load(gradient), delta));
      store(hn::IfThenZeroElse(hn::Eq(p, hn::Zero(d)), ds), gradient);
    });
    if (head.dbias != nullptr) std::copy_n(gradient, block.columns, head.dbias + t * head.keys + block.s0);
    if (head.has_slope()) {
      const T* slope = w.slope + r * block.step;
      over_row<T>(block.columns, [&](auto load, auto store, auto) HWY_ATTR {
        const auto ds = load(gradient);
        store(hn::IfThenZeroElse(hn::Eq(ds, hn::Zero(d)), hn::Mul(ds, load(slope))), gradient);
      });
    }
  }
}

// c [m, n] (+)= alpha a b, b packed with others: rows `first` ... `first` + k - 1 of `rows`.
template <class T>
struct PackedOperand {
  const T* data;
  int64_t rows;
  int64_t first;
  bool finite;
};

template <class T>
void multiply(const Operand<T>& a, const PackedOperand<T>& b, int64_t m, int64_t n, int64_t k, double alpha,
              bool accumulate, T* c) {
  Product<T> product;
  product.m = m;
  product.n = n;
  product.k = k;
  product.a = a;
  product.packed = b.data;
  product.packed_rows = b.rows;
  product.packed_row = b.first;
  product.c = c;
  product.ldc = n;
  product.alpha = static_cast<T>(alpha);
  product.accumulate = accumulate;
  product.exact_zeros = !b.finite;
  gemm(product);
}

template <class T>
void backward_block(const Head<T>& head, const Block<T>& block, const BackwardScratch<T>& w, int64_t s_begin) {
  Product<T> weight_gradient;  // dP = dy v^T
  weight_gradient.m = block.rows;
  weight_gradient.n = block.columns;
  weight_gradient.k = head.value_size;
  weight_gradient.a = {w.dy + block.t0 * head.value_size, head.value_size, 1};
  weight_gradient.packed = w.values_across + block.s0 * head.value_size;
  weight_gradient.c = w.gradients;
  weight_gradient.ldc = block.step;
  gemm(weight_gradient);
  weights_of_block(head, block, w);
  const bool drops = head.spec->dropout.probability > 0;
  if (drops) drop_block(head, block, w.gradients);
  score_gradients(head, block, w);
  if (drops) drop_block(head, block, w.weights);

  const double scale = head.spec->scale;
  const Operand<T> scores{w.gradients, block.step, 1};
  multiply<T>(scores, {w.keys, head.keys, block.s0, w.finite_keys}, block.rows, head.key_size, block.columns, scale,
              true, w.dq + block.t0 * head.key_size);
  const int64_t s = block.s0 - s_begin;
  multiply<T>(scores.transposed(), {w.queries, head.queries, block.t0, w.finite_queries}, block.columns, head.key_size,
              block.rows, scale, true, w.dk + s * head.key_size);
  multiply<T>(Operand<T>{w.weights, 1, block.step}, {w.outputs, head.queries, block.t0, w.finite_outputs},
              block.columns, head.value_size, block.rows, 1, true, w.dv + s * head.value_size);
}

// dk and dv of `keys` keys go on to the long sums; with `last` they come back whole.
template <class T>
void carry_on(const Head<T>& head, const BackwardScratch<T>& w, int64_t keys, bool last) {
  double* sums = w.long_sums;
  for (const auto& [part, size] : {std::pair(w.dk, keys * head.key_size), std::pair(w.dv, keys * head.value_size)}) {
    for (int64_t i = 0; i < size; ++i) {
      sums[i] += static_cast<double>(part[i]);
      part[i] = last ? static_cast<T>(sums[i]) : T{0};
    }
    sums += size;
  }
}

// to = x, or to += x
template <class T>
void deliver_rows(const T* x, int64_t rows, int64_t width, bool add, const Rows<T>& to) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* from = x + i * width;
    T* row = to.row(i);
    if (add) {
      over_row<T>(width, [&](auto load, auto store, auto) HWY_ATTR { store(hn::Add(load(row), load(from)), row); });
    } else {
      copy_row(from, width, row);
    }
  }
}

template <class T>
void backward_head(const Head<T>& head) {
  BackwardScratch<T> w(head);
  prepare(head, w);
  for (int64_t s_begin = 0; s_begin < head.keys; s_begin += kKeys) {
    const int64_t s_end = std::min(head.keys, s_begin + kKeys);
    const int64_t keys = s_end - s_begin;
    std::fill_n(w.dk, keys * head.key_size, T{0});
    std::fill_n(w.dv, keys * head.value_size, T{0});
    if (w.long_sums != nullptr) std::fill_n(w.long_sums, keys * (head.key_size + head.value_size), 0.0);
    // Queries that see any of these keys: neither end of their range of keys falls from one to the next.
    int64_t t_begin = 0;
    int64_t t_end = head.queries;
    int64_t blocks = 0;
    while (t_begin < t_end && head.last_key(t_begin) <= s_begin) ++t_begin;
    while (t_begin < t_end && head.first_key(t_end - 1) >= s_end) --t_end;
    for (int64_t t0 = t_begin; t0 < t_end; t0 += kQueries) {
      const int64_t rows = std::min(kQueries, t_end - t0);
      int64_t from = s_begin;
      int64_t to = s_end;
      trim_keys(head, t0, rows, from, to);
      if (from >= to) continue;
      const int64_t columns = to - from;
      // Where a row is more than a few cache lines: an odd number of them from row to row, so that a column's elements
      // do not share few sets of the cache.
      Block<T> block{w.weights, t0, rows, from, columns, columns >= 128 ? columns + 16 : columns};
      if (!allow_block(head, w.allowed, block)) continue;
      backward_block(head, block, w, s_begin);
      if (w.long_sums != nullptr && ++blocks % kLongSum == 0) carry_on(head, w, keys, false);
    }
    if (w.long_sums != nullptr) carry_on(head, w, keys, true);
    deliver_rows(w.dk, keys, head.key_size, !head.first_of_group, {head.dk.row(s_begin), head.dk.step});
    deliver_rows(w.dv, keys, head.value_size, !head.first_of_group, {head.dv.row(s_begin), head.dv.step});
  }
  deliver_rows(w.dq, head.queries, head.key_size, false, head.dq);
}

void backward_float(const Head<float>& head) { backward_head(head); }
void backward_double(const Head<double>& head) { backward_head(head); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(backward_float);
HWY_EXPORT(backward_double);

void attention_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                        const AttentionSpec& spec, const Tensor& y, const Tensor& stats, const Tensor& weights,
                        Tensor& dq, Tensor& dk, Tensor& dv, Tensor& dbias) {
  const int64_t heads = q.shape()[2];
  const int64_t queries = q.shape()[1];
  const int64_t key_heads = k.shape()[2];
  const int64_t keys = k.shape()[1];
  visit_floating(q.dtype(), "attention", [&]<class T>(T) {
    // Head's members for forward are writable; nothing is written through them, so that no version changes.
    const auto readable = [](const T* data) { return const_cast<T*>(data); };
    // All query heads that share a key head in one task, one after the other: their dk and dv add up.
    share_heads(q.shape()[0] * key_heads, [&](int64_t task) {
      const int64_t b = task / key_heads;
      const int64_t group = heads / key_heads;
      for (int64_t i = 0; i < group; ++i) {
        const int64_t h = task % key_heads * group + i;
        Head<T> head = head_of<T>(q, k, v, bias, spec, b, h);
        const Rows<const T> outputs = rows_of<T>(y, b, h);
        head.y = {readable(outputs.data), outputs.step};
        head.largest = readable(stats.data<T>()) + (b * heads + h) * queries;
        head.log_sums = head.largest + q.shape()[0] * heads * queries;
        if (weights.defined()) head.weights = readable(weights.data<T>()) + (b * heads + h) * queries * keys;
        head.dy = rows_of<T>(dy, b, h);
        head.dq = rows_of<T>(dq, b, h);
        head.dk = rows_of<T>(dk, b, task % key_heads);
        head.dv = rows_of<T>(dv, b, task % key_heads);
        if (dbias.defined()) head.dbias = dbias.data<T>() + (b * heads + h) * queries * keys;
        head.first_of_group = i == 0;
        if constexpr (sizeof(T) == 4) {
          HWY_DYNAMIC_DISPATCH(backward_float)(head);
        } else {
          HWY_DYNAMIC_DISPATCH(backward_double)(head);
        }
      }
    });
  });
}

}  // namespace attune::cpu
#endif
