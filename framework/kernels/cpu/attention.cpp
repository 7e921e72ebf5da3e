#include "framework/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "framework/kernels/cpu/attention_head.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/attention.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/attention_rows.h"

#ifndef ATTUNE_FRAMEWORK_KERNELS_CPU_ATTENTION_CPP_
#define ATTUNE_FRAMEWORK_KERNELS_CPU_ATTENTION_CPP_
namespace attune::cpu {
namespace {

// A block's scores, and the keys and values that they meet, stay in the second-level cache. Many keys and few queries:
// sums over keys are long, and causal blocks stay close to the diagonal. Rows in multiples of the product's tiles.
constexpr int64_t kScores = 49152;
constexpr int64_t kKeys = 1024;
constexpr int64_t kRowStep = 24;
static_assert(kKeys % kPackedStep == 0);

int64_t rows_per_block(int64_t keys) {
  return std::max(kRowStep, kScores / std::clamp<int64_t>(keys, 32, kKeys) / kRowStep * kRowStep);
}

}  // namespace
}  // namespace attune::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

// A thread's memory for one head.
template <class T>
struct ForwardScratch {
  T* keys;     // k^T packed
  T* values;   // v packed
  T* scores;   // of a block
  T* queries;  // of a block
  T* outputs;  // of a block, before they are divided by the sums
  T* largest;  // score of each row so far
  T* sums;     // of exponentials, less the largest score
  bool* allowed;
  T bound;      // of scores, for a query of norm 1; infinite where there is none
  bool finite;  // v is

  explicit ForwardScratch(const Head<T>& head) {
    const int64_t rows = rows_per_block(head.keys);
    const int64_t columns = std::min(kKeys, head.keys);
    keys = scratch<T>(2, head.key_size * packed_columns(head.keys));
    values = scratch<T>(3, head.keys * packed_columns(head.value_size));
    scores = scratch<T>(4, rows * (columns + head.key_size + head.value_size + 2));
    queries = scores + rows * columns;
    outputs = queries + rows * head.key_size;
    largest = outputs + rows * head.value_size;
    sums = largest + rows;
    allowed = scratch<bool>(5, rows * columns);
    const bool finite_keys = pack({head.k.data, 1, head.k.step}, head.key_size, head.keys, keys);
    bound = finite_keys ? score_bound(head, keys) : std::numeric_limits<T>::infinity();
    finite = pack({head.v.data, head.v.step, 1}, head.keys, head.value_size, values);
  }
};

// Bounds of the scores of each row, as its `largest`; false where they are too large to be used.
template <class T>
bool bound_rows(const Head<T>& head, int64_t rows, const ForwardScratch<T>& w) {
  if (!std::isfinite(w.bound)) return false;
  for (int64_t r = 0; r < rows; ++r) {
    w.largest[r] =
        w.bound * std::sqrt(dot_rows(w.queries + r * head.key_size, w.queries + r * head.key_size, head.key_size));
    if (!(w.largest[r] <= static_cast<T>(kScoreBound))) return false;
  }
  return true;
}

// Scores of the block become exponentials less the bound of their row.
template <class T>
void bounded_softmax_block(const Head<T>& head, const Block<T>& block, const ForwardScratch<T>& w, bool first) {
  for (int64_t r = 0; r < block.rows; ++r) {
    int64_t begin = 0;
    int64_t end = 0;
    finish_scores<T>(head, block, r, begin, end, nullptr);
    const T sum = block.allowed == nullptr
                      ? exponentiate<Depth::kBounded>(block.row(r), begin, end, block.columns, w.largest[r])
                      : exponentiate(block.row(r), begin, end, block.columns, w.largest[r]);
    w.sums[r] = first ? sum : w.sums[r] + sum;
  }
}

// Scores of the block become exponentials less the largest score of their row so far; what was summed up before is
// scaled to it.
template <class T>
void softmax_block(const Head<T>& head, const Block<T>& block, const ForwardScratch<T>& w, bool first) {
  constexpr T kLow = -std::numeric_limits<T>::infinity();
  for (int64_t r = 0; r < block.rows; ++r) {
    int64_t begin = 0;
    int64_t end = 0;
    finish_scores<T>(head, block, r, begin, end, nullptr);
    T* row = block.row(r);
    const T before = first ? kLow : w.largest[r];
    T top = std::max(before, row_max(row + begin, end - begin));
    // The maximum passes NaN over: a row of nothing else is not one without keys.
    if (top == kLow && std::any_of(row + begin, row + end, [](T x) { return x != kLow; })) {
      top = std::numeric_limits<T>::quiet_NaN();
    }
    w.largest[r] = top;
    // Nothing allowed so far: the row stays empty.
    const T sum = exponentiate(row, begin, top == kLow ? begin : end, block.columns, top == kLow ? T{0} : top);
    if (first) {
      w.sums[r] = sum;
    } else if (top == before) {
      w.sums[r] += sum;
    } else {
      const T shrink = before == kLow ? T{0} : std::exp(before - top);
      w.sums[r] = w.sums[r] * shrink + sum;
      T* y = w.outputs + r * head.value_size;
      scale_row(y, head.value_size, shrink, y);
    }
  }
}

template <class T>
void add_values(const Head<T>& head, const Block<T>& block, const ForwardScratch<T>& w, bool first) {
  Product<T> product;
  product.m = block.rows;
  product.n = head.value_size;
  product.k = block.columns;
  product.a = {block.p, block.step, 1};
  product.packed = w.values;
  product.packed_rows = head.keys;
  product.packed_row = block.s0;
  product.c = w.outputs;
  product.ldc = head.value_size;
  product.accumulate = !first;
  product.exact_zeros = !w.finite;
  gemm(product);
}

// Weights of the block's queries, from the scores once more and the sums that are known now.
template <class T>
void write_weights(const Head<T>& head, int64_t t0, int64_t rows, const ForwardScratch<T>& w) {
  for (int64_t s0 = 0; s0 < head.keys; s0 += kKeys) {
    const int64_t columns = std::min(kKeys, head.keys - s0);
    Block<T> block{w.scores, t0, rows, s0, columns, columns};
    const bool any = allow_block(head, w.allowed, block);
    if (any) multiply_scores(head, block, w.queries, w.keys);
    for (int64_t r = 0; r < rows; ++r) {
      int64_t begin = 0;
      int64_t end = 0;
      if (any) finish_scores<T>(head, block, r, begin, end, nullptr);
      const T largest = head.largest[t0 + r];
      if (largest == -std::numeric_limits<T>::infinity()) end = begin;
      T* row = block.row(r);
      exponentiate(row, begin, end, columns, largest, head.log_sums[t0 + r]);
      std::copy(row, row + columns, head.weights + (t0 + r) * head.keys + s0);
    }
  }
}

template <class T>
void forward_rows(const Head<T>& head, int64_t t0, int64_t rows, const ForwardScratch<T>& w) {
  constexpr T kLow = -std::numeric_limits<T>::infinity();
  int64_t from = 0;
  int64_t to = head.keys;
  trim_keys(head, t0, rows, from, to);
  gather_rows(head.q, t0, rows, head.key_size, w.queries);
  const bool bounded = bound_rows(head, rows, w);
  bool first = true;
  // All keys in one block: its exponentials are the weights, but for the sums.
  const bool whole = head.weights != nullptr && head.keys <= kKeys;
  const bool drops = head.spec->dropout.probability > 0;
  T* scores = whole && !drops ? head.weights + t0 * head.keys : w.scores;
  for (int64_t s0 = whole ? 0 : from; s0 < to; s0 += kKeys) {
    const int64_t columns = whole ? head.keys : std::min(kKeys, to - s0);
    Block<T> block{scores, t0, rows, s0, columns, columns};
    if (!allow_block(head, w.allowed, block)) continue;
    multiply_scores(head, block, w.queries, w.keys);
    if (bounded) {
      bounded_softmax_block(head, block, w, first);
    } else {
      softmax_block(head, block, w, first);
    }
    if (drops) {
      if (whole) std::copy_n(scores, rows * columns, head.weights + t0 * head.keys);
      drop_block(head, block, scores);
    }
    add_values(head, block, w, first);
    first = false;
  }
  for (int64_t r = 0; r < rows; ++r) {
    T* y = head.y.row(t0 + r);
    T* weights = whole ? head.weights + (t0 + r) * head.keys : nullptr;
    if (bounded && !first && w.sums[r] == 0) w.largest[r] = kLow;  // no key was allowed
    if (first || w.largest[r] == kLow) {
      std::fill_n(y, head.value_size, T{0});
      if (whole) std::fill_n(weights, head.keys, T{0});
    } else {
      scale_row(w.outputs + r * head.value_size, head.value_size, 1 / w.sums[r], y);
      if (whole) scale_row(weights, head.keys, 1 / w.sums[r], weights);
    }
  }
  if (first) {
    std::fill_n(head.largest + t0, rows, kLow);
    std::fill_n(head.log_sums + t0, rows, T{0});
  } else {
    const hn::ScalableTag<T> d;
    over_row<T>(rows, [&](auto load, auto store, auto) HWY_ATTR {
      auto top = load(w.largest);
      auto log_sum = Log(d, load(w.sums));
      if (bounded) {
        // A bound may be far above the scores: what is kept is near them, and what rounding takes from it.
        const auto total = hn::Add(top, log_sum);
        log_sum = hn::Sub(log_sum, hn::Sub(total, top));
        top = total;
      }
      store(top, head.largest + t0);
      store(log_sum, head.log_sums + t0);
    });
  }
  if (head.weights != nullptr && !whole) write_weights(head, t0, rows, w);
}

template <class T>
void forward_head(const Head<T>& head, int64_t begin, int64_t end) {
  const ForwardScratch<T> w(head);
  const int64_t step = rows_per_block(head.keys);
  for (int64_t t0 = begin; t0 < end; t0 += step) forward_rows(head, t0, std::min(step, end - t0), w);
}

void forward_float(const Head<float>& head, int64_t begin, int64_t end) { forward_head(head, begin, end); }
void forward_double(const Head<double>& head, int64_t begin, int64_t end) { forward_head(head, begin, end); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(forward_float);
HWY_EXPORT(forward_double);

void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias, const AttentionSpec& spec,
               Tensor& y, Tensor& stats, Tensor& weights) {
  const int64_t heads = q.shape()[2];
  const int64_t queries = q.shape()[1];
  const int64_t keys = k.shape()[1];
  if (queries == 0) return;
  visit_floating(q.dtype(), "attention", [&]<class T>(T) {
    const int64_t count = q.shape()[0] * heads;
    const int64_t step = rows_per_block(keys);
    const int64_t blocks = (queries + step - 1) / step;
    // Whole heads, which share packed keys and values, unless there are too few for the threads.
    const int64_t parts = count >= 4 * num_threads() ? 1 : std::min(blocks, 4 * int64_t{num_threads()});
    share_heads(count * parts, [&](int64_t task) {
      const int64_t b = task / parts / heads;
      const int64_t h = task / parts % heads;
      Head<T> head = head_of<T>(q, k, v, bias, spec, b, h);
      head.y = rows_of<T>(y, b, h);
      head.largest = stats.data<T>() + (b * heads + h) * queries;
      head.log_sums = head.largest + count * queries;
      if (weights.defined()) head.weights = weights.data<T>() + (b * heads + h) * queries * keys;
      const int64_t begin = blocks * (task % parts) / parts * step;
      const int64_t end = std::min(queries, blocks * (task % parts + 1) / parts * step);
      if constexpr (sizeof(T) == 4) {
        HWY_DYNAMIC_DISPATCH(forward_float)(head, begin, end);
      } else {
        HWY_DYNAMIC_DISPATCH(forward_double)(head, begin, end);
      }
    });
  });
}

}  // namespace attune::cpu
#endif
