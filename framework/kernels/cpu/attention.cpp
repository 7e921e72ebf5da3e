#include "framework/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "framework/kernels/cpu/gemm.h"
#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/attention.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/philox.h"
#include "framework/kernels/cpu/rows.h"
#include "framework/kernels/cpu/simd.h"

#ifndef ATTUNE_FRAMEWORK_KERNELS_CPU_ATTENTION_CPP_
#define ATTUNE_FRAMEWORK_KERNELS_CPU_ATTENTION_CPP_
namespace attune::cpu {
namespace {

// Scores of one block of queries and keys stay in the second-level cache.
constexpr int64_t kQueries = 128;
constexpr int64_t kKeys = 256;
static_assert(kQueries <= kPackedDepth && kKeys <= kPackedDepth && kKeys % kPackedStep == 0);

constexpr int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// One head of one sample, by steps from row to row; last axes have unit steps.
template <class T>
struct Rows {
  T* data = nullptr;
  int64_t step = 0;

  T* row(int64_t i) const { return data + i * step; }
};

template <class T>
struct Head {
  int64_t queries;
  int64_t keys;
  int64_t key_size;
  int64_t value_size;
  Rows<const T> q, k, v;
  const T* bias;
  int64_t bias_row;
  int64_t bias_col;
  const bool* keep;
  int64_t keep_row;
  int64_t keep_col;
  int64_t length;  // keys from here on are masked
  int64_t draw;    // index of the head's first weight in the dropout's draw
  const AttentionSpec* spec;
  Rows<T> y;
  T* lse;
  T* weights;
  // backward
  Rows<const T> dy;
  Rows<T> dq, dk, dv;
  T* dbias;
  bool first_of_group;  // dk and dv are written, not added to

  // Keys begin ... end - 1 are those that range masks allow for query t.
  int64_t first_key(int64_t t) const {
    const MaskSpec& mask = spec->mask;
    if (mask.window_left < 0) return 0;
    return std::clamp<int64_t>(t + mask.causal_offset - mask.window_left, 0, keys);
  }
  int64_t last_key(int64_t t) const {
    const MaskSpec& mask = spec->mask;
    int64_t end = length;
    if (mask.causal) end = std::min(end, t + mask.causal_offset + 1);
    if (mask.window_right >= 0) end = std::min(end, t + mask.causal_offset + mask.window_right + 1);
    return std::max<int64_t>(end, 0);
  }
};

// A block of scores: queries t0 ... t0 + rows - 1, keys s0 ... s0 + columns - 1, rows `columns` apart.
template <class T>
struct Block {
  T* p;
  int64_t t0;
  int64_t rows;
  int64_t s0;
  int64_t columns;
};

}  // namespace
}  // namespace attune::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

// Raw products become scores (softcap, bias) within the row's range; what is masked becomes -infinity. Returns the
// range [begin, end) in columns of the block outside which everything is masked. `slope` (optional) receives the
// softcap's derivative.
template <class T>
HWY_INLINE void finish_scores(const Head<T>& head, const Block<T>& block, int64_t r, int64_t& begin, int64_t& end,
                              T* slope) {
  const hn::ScalableTag<T> d;
  const int64_t t = block.t0 + r;
  begin = std::clamp<int64_t>(head.first_key(t) - block.s0, 0, block.columns);
  end = std::clamp<int64_t>(head.last_key(t) - block.s0, begin, block.columns);
  T* row = block.p + r * block.columns;
  if (head.spec->softcap > 0) {
    const auto cap = hn::Set(d, static_cast<T>(head.spec->softcap));
    const auto inverse = hn::Set(d, static_cast<T>(1 / head.spec->softcap));
    const auto one = hn::Set(d, T{1});
    over_row<T>(end - begin, [&](auto load, auto store, auto) HWY_ATTR {
      const auto y = Tanh(d, hn::Mul(load(row + begin), inverse));
      store(hn::Mul(y, cap), row + begin);
      if (slope != nullptr) store(hn::NegMulAdd(y, y, one), slope + begin);
    });
  }
  if (head.bias != nullptr) {
    const T* bias = head.bias + t * head.bias_row + block.s0 * head.bias_col;
    for (int64_t j = begin; j < end; ++j) row[j] += bias[j * head.bias_col];
  }
  if (head.keep != nullptr) {
    const bool* keep = head.keep + t * head.keep_row + block.s0 * head.keep_col;
    for (int64_t j = begin; j < end; ++j) {
      if (!keep[j * head.keep_col]) row[j] = -std::numeric_limits<T>::infinity();
    }
  }
}

template <class T>
HWY_INLINE void multiply_scores(const Head<T>& head, const Block<T>& block, const T* packed_keys) {
  Product<T> scores;
  scores.m = block.rows;
  scores.n = block.columns;
  scores.k = head.key_size;
  scores.a = {head.q.row(block.t0), head.q.step, 1};
  scores.packed = packed_keys + block.s0 * head.key_size;
  scores.c = block.p;
  scores.ldc = block.columns;
  scores.alpha = static_cast<T>(head.spec->scale);
  gemm(scores);
}

// Rows of `x` times the dropout's scales of the block's weights.
template <class T>
HWY_INLINE void drop_block(const Head<T>& head, const Block<T>& block, T* x) {
  const DropoutSpec& dropout = head.spec->dropout;
  const DropoutScale scale(dropout.probability);
  const auto apply = [&](int64_t begin, int64_t n, T* values)
                         HWY_ATTR { DropoutRange(dropout.state, scale, begin, n, values, values); };
  const int64_t at = head.draw + block.t0 * head.keys + block.s0;
  if (block.columns == head.keys) return apply(at, block.rows * head.keys, x);  // one run of the draw
  for (int64_t r = 0; r < block.rows; ++r) apply(at + r * head.keys, block.columns, x + r * block.columns);
}

template <class T>
HWY_INLINE void scale_row(T* x, int64_t n, T factor) {
  const hn::ScalableTag<T> d;
  const auto f = hn::Set(d, factor);
  over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR { store(hn::Mul(load(x), f), x); });
}

// row[j] = exp(row[j] - shift) inside [begin, end), 0 outside; returns the sum.
template <class T>
HWY_INLINE T exponentiate(T* row, int64_t begin, int64_t end, int64_t columns, T shift) {
  const hn::ScalableTag<T> d;
  const auto base = hn::Set(d, shift);
  auto total = hn::Zero(d);
  over_row<T>(end - begin, [&](auto load, auto store, auto valid) HWY_ATTR {
    const auto e = valid(Exp(d, hn::Sub(load(row + begin), base)));
    total = hn::Add(total, e);
    store(e, row + begin);
  });
  std::fill(row, row + begin, T{0});
  std::fill(row + end, row + columns, T{0});
  return lane_sum<T>(total);
}

// The head's keys or values, packed by blocks of kKeys rows; returns whether all are finite.
template <class T>
bool pack_blocks(const Rows<const T>& x, int64_t rows, int64_t width, int64_t block, T* out) {
  bool finite = true;
  for (int64_t i = 0; i < rows; i += block) {
    finite &= pack({x.row(i), x.step, 1}, std::min(block, rows - i), width, out + i * packed_columns(width));
  }
  return finite;
}

template <class T>
void weights_of(const Head<T>& head, const T* packed_keys, T* scores) {
  for (int64_t t0 = 0; t0 < head.queries; t0 += kQueries) {
    for (int64_t s0 = 0; s0 < head.keys; s0 += kKeys) {
      const Block<T> block{scores, t0, std::min(kQueries, head.queries - t0), s0, std::min(kKeys, head.keys - s0)};
      multiply_scores(head, block, packed_keys);
      for (int64_t r = 0; r < block.rows; ++r) {
        int64_t begin = 0;
        int64_t end = 0;
        finish_scores<T>(head, block, r, begin, end, nullptr);
        const T lse = head.lse[t0 + r];
        if (lse == -std::numeric_limits<T>::infinity()) end = begin;
        T* row = scores + r * block.columns;
        exponentiate(row, begin, end, block.columns, lse);
        std::copy(row, row + block.columns, head.weights + (t0 + r) * head.keys + s0);
      }
    }
  }
}

template <class T>
void forward_head(const Head<T>& head, int64_t first_query, int64_t last_query) {
  constexpr T kLow = -std::numeric_limits<T>::infinity();
  const int64_t value_columns = packed_columns(head.value_size);
  T* packed_keys = scratch<T>(2, head.key_size * packed_columns(head.keys));
  T* packed_values = scratch<T>(3, round_up(head.keys, kKeys) * value_columns);
  T* scores = scratch<T>(4, kQueries * std::min(kKeys, head.keys));
  T* largest = scratch<T>(5, 2 * kQueries);
  T* sums = largest + kQueries;
  pack({head.k.data, 1, head.k.step}, head.key_size, head.keys, packed_keys);
  const bool finite = pack_blocks(head.v, head.keys, head.value_size, kKeys, packed_values);

  for (int64_t t0 = first_query; t0 < last_query; t0 += kQueries) {
    const int64_t rows = std::min(kQueries, last_query - t0);
    const int64_t from = head.first_key(t0) / kKeys * kKeys;
    const int64_t to = std::min(head.last_key(t0 + rows - 1), head.keys);
    bool first = true;
    for (int64_t s0 = from; s0 < to; s0 += kKeys) {
      const Block<T> block{scores, t0, rows, s0, std::min(kKeys, head.keys - s0)};
      multiply_scores(head, block, packed_keys);
      for (int64_t r = 0; r < rows; ++r) {
        int64_t begin = 0;
        int64_t end = 0;
        finish_scores<T>(head, block, r, begin, end, nullptr);
        T* row = scores + r * block.columns;
        const T before = first ? kLow : largest[r];
        const T top = std::max(before, row_max(row + begin, end - begin));
        largest[r] = top;
        // Nothing allowed so far: the row stays empty.
        const T sum = exponentiate(row, begin, top == kLow ? begin : end, block.columns, top == kLow ? T{0} : top);
        if (first) {
          sums[r] = sum;
        } else if (top == before) {
          sums[r] += sum;
        } else {
          const T shrink = before == kLow ? T{0} : std::exp(before - top);
          sums[r] = sums[r] * shrink + sum;
          scale_row(head.y.row(t0 + r), head.value_size, shrink);
        }
      }
      if (head.spec->dropout.probability > 0) drop_block(head, block, scores);
      Product<T> product;
      product.m = rows;
      product.n = head.value_size;
      product.k = block.columns;
      product.a = {scores, block.columns, 1};
      product.packed = packed_values + s0 * value_columns;
      product.c = head.y.row(t0);
      product.ldc = head.y.step;
      product.accumulate = !first;
      product.exact_zeros = !finite;
      gemm(product);
      first = false;
    }
    for (int64_t r = 0; r < rows; ++r) {
      T* y = head.y.row(t0 + r);
      if (first || largest[r] == kLow) {
        std::fill(y, y + head.value_size, T{0});
        head.lse[t0 + r] = kLow;
      } else {
        scale_row(y, head.value_size, 1 / sums[r]);
        head.lse[t0 + r] = largest[r] + std::log(sums[r]);
      }
    }
  }
  if (head.weights != nullptr) weights_of(head, packed_keys, scores);
}

// Scratch of one thread for backward, shared by its heads.
template <class T>
struct BackwardScratch {
  T* keys_across;    // k^T, for the scores
  T* values_across;  // v^T, for the gradient of the weights
  T* keys;           // k, for dq
  T* queries;        // q, for dk
  T* outputs;        // dy, for dv
  T* weights;
  T* gradients;
  T* slope;
  T* delta;
  bool* silent;  // rows of dy that are exactly zero
};

template <class T>
BackwardScratch<T> backward_scratch(const Head<T>& head) {
  const int64_t block = kQueries * std::min(kKeys, head.keys);
  const int64_t key_columns = packed_columns(head.key_size);
  const int64_t value_columns = packed_columns(head.value_size);
  const int64_t key_rows = round_up(head.keys, 64);
  const int64_t query_rows = round_up(head.queries, 64);
  const int64_t sizes[] = {head.key_size * packed_columns(head.keys),
                           head.value_size * packed_columns(head.keys),
                           key_rows * key_columns,
                           query_rows * key_columns,
                           query_rows * value_columns,
                           block,
                           block,
                           head.spec->softcap > 0 ? block : 0,
                           query_rows,
                           query_rows};
  int64_t total = 0;
  for (int64_t size : sizes) total += round_up(size, 16);
  T* at = scratch<T>(2, total);
  T* parts[std::size(sizes)];
  for (size_t i = 0; i < std::size(sizes); ++i) {
    parts[i] = at;
    at += round_up(sizes[i], 16);
  }
  return {parts[0], parts[1], parts[2], parts[3], parts[4],
          parts[5], parts[6], parts[7], parts[8], reinterpret_cast<bool*>(parts[9])};
}

// P and dS of one block, from the scores and dP in place.
template <class T>
void backward_block(const Head<T>& head, const Block<T>& block, const BackwardScratch<T>& w) {
  const hn::ScalableTag<T> d;
  const bool capped = head.spec->softcap > 0;
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t t = block.t0 + r;
    int64_t begin = 0;
    int64_t end = 0;
    T* row = block.p + r * block.columns;
    T* slope = capped ? w.slope + r * block.columns : nullptr;
    finish_scores<T>(head, block, r, begin, end, slope);
    const T lse = head.lse[t];
    if (w.silent[t] || lse == -std::numeric_limits<T>::infinity()) end = begin;
    exponentiate(row, begin, end, block.columns, end > begin ? lse : T{0});
  }
  if (head.spec->dropout.probability > 0) drop_block(head, block, w.gradients);
  for (int64_t r = 0; r < block.rows; ++r) {
    const T* row = block.p + r * block.columns;
    T* gradient = w.gradients + r * block.columns;
    const auto delta = hn::Set(d, w.delta[block.t0 + r]);
    // y = P V, P = softmax(s): ds = P (dP - sum(P dP)); exactly 0 where P is, whatever the masked value held.
    over_row<T>(block.columns, [&](auto load, auto store, auto) HWY_ATTR {
      const auto p = load(row);
      const auto ds = hn::Mul(p, hn::Sub(load(gradient), delta));
      store(hn::IfThenZeroElse(hn::Eq(p, hn::Zero(d)), ds), gradient);
    });
    if (head.dbias != nullptr) {
      std::copy(gradient, gradient + block.columns, head.dbias + (block.t0 + r) * head.keys + block.s0);
    }
    if (capped) {
      const T* slope = w.slope + r * block.columns;
      over_row<T>(block.columns, [&](auto load, auto store, auto) HWY_ATTR {
        const auto ds = load(gradient);
        store(hn::IfThenZeroElse(hn::Eq(ds, hn::Zero(d)), hn::Mul(ds, load(slope))), gradient);
      });
    }
  }
}

template <class T>
void clear_rows(const Rows<T>& x, int64_t rows, int64_t width) {
  for (int64_t i = 0; i < rows; ++i) std::fill(x.row(i), x.row(i) + width, T{0});
}

template <class T>
void backward_head(const Head<T>& head) {
  const BackwardScratch<T> w = backward_scratch(head);
  const int64_t key_columns = packed_columns(head.key_size);
  const int64_t value_columns = packed_columns(head.value_size);
  const bool drops = head.spec->dropout.probability > 0;

  // delta = sum(P dP) = dy y, of whole rows at once.
  const hn::ScalableTag<T> d;
  for (int64_t t = 0; t < head.queries; ++t) {
    const T* dy = head.dy.row(t);
    const T* y = head.y.row(t);
    auto total = hn::Zero(d);
    over_row<T>(head.value_size, [&](auto load, auto, auto) HWY_ATTR { total = hn::MulAdd(load(dy), load(y), total); });
    w.silent[t] = all_zero_row(dy, head.value_size);
    w.delta[t] = w.silent[t] ? T{0} : lane_sum<T>(total);
  }
  pack({head.k.data, 1, head.k.step}, head.key_size, head.keys, w.keys_across);
  pack({head.v.data, 1, head.v.step}, head.value_size, head.keys, w.values_across);
  const bool finite_keys = pack_blocks(head.k, head.keys, head.key_size, kKeys, w.keys);
  const bool finite_queries = pack_blocks(head.q, head.queries, head.key_size, kQueries, w.queries);
  const bool finite_outputs = pack_blocks(head.dy, head.queries, head.value_size, kQueries, w.outputs);
  if (head.first_of_group) {
    clear_rows(head.dk, head.keys, head.key_size);
    clear_rows(head.dv, head.keys, head.value_size);
  }
  clear_rows(head.dq, head.queries, head.key_size);
  if (head.dbias != nullptr) std::fill(head.dbias, head.dbias + head.queries * head.keys, T{0});

  for (int64_t s0 = 0; s0 < head.keys; s0 += kKeys) {
    for (int64_t t0 = 0; t0 < head.queries; t0 += kQueries) {
      const Block<T> block{w.weights, t0, std::min(kQueries, head.queries - t0), s0, std::min(kKeys, head.keys - s0)};
      if (head.first_key(t0) >= s0 + block.columns || head.last_key(t0 + block.rows - 1) <= s0) continue;
      multiply_scores(head, block, w.keys_across);
      Product<T> weight_gradient;
      weight_gradient.m = block.rows;
      weight_gradient.n = block.columns;
      weight_gradient.k = head.value_size;
      weight_gradient.a = {head.dy.row(t0), head.dy.step, 1};
      weight_gradient.packed = w.values_across + s0 * head.value_size;
      weight_gradient.c = w.gradients;
      weight_gradient.ldc = block.columns;
      gemm(weight_gradient);
      backward_block(head, block, w);

      Product<T> query_gradient;  // dq += scale dS k
      query_gradient.m = block.rows;
      query_gradient.n = head.key_size;
      query_gradient.k = block.columns;
      query_gradient.a = {w.gradients, block.columns, 1};
      query_gradient.packed = w.keys + s0 * key_columns;
      query_gradient.c = head.dq.row(t0);
      query_gradient.ldc = head.dq.step;
      query_gradient.alpha = static_cast<T>(head.spec->scale);
      query_gradient.accumulate = true;
      query_gradient.exact_zeros = !finite_keys;
      gemm(query_gradient);

      Product<T> key_gradient;  // dk += scale dS^T q
      key_gradient.m = block.columns;
      key_gradient.n = head.key_size;
      key_gradient.k = block.rows;
      key_gradient.a = {w.gradients, 1, block.columns};
      key_gradient.packed = w.queries + t0 * key_columns;
      key_gradient.c = head.dk.row(s0);
      key_gradient.ldc = head.dk.step;
      key_gradient.alpha = static_cast<T>(head.spec->scale);
      key_gradient.accumulate = true;
      key_gradient.exact_zeros = !finite_queries;
      gemm(key_gradient);

      if (drops) drop_block(head, block, w.weights);
      Product<T> value_gradient;  // dv += P^T dy
      value_gradient.m = block.columns;
      value_gradient.n = head.value_size;
      value_gradient.k = block.rows;
      value_gradient.a = {w.weights, 1, block.columns};
      value_gradient.packed = w.outputs + t0 * value_columns;
      value_gradient.c = head.dv.row(s0);
      value_gradient.ldc = head.dv.step;
      value_gradient.accumulate = true;
      value_gradient.exact_zeros = !finite_outputs;
      gemm(value_gradient);
    }
  }
}

void forward_float(const Head<float>& head, int64_t begin, int64_t end) { forward_head(head, begin, end); }
void forward_double(const Head<double>& head, int64_t begin, int64_t end) { forward_head(head, begin, end); }
void backward_float(const Head<float>& head) { backward_head(head); }
void backward_double(const Head<double>& head) { backward_head(head); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(forward_float);
HWY_EXPORT(forward_double);
HWY_EXPORT(backward_float);
HWY_EXPORT(backward_double);

namespace {

// Many tasks are dealt out in ranges, as rows are in products: a thread then reads what it wrote itself. Few of them go
// to whoever is free.
template <class F>
void share_heads(int64_t tasks, F&& f) {
  if (tasks < 16 * num_threads()) return parallel_tasks(tasks, f);
  parallel_for(tasks, 1, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t task = begin; task < end; ++task) f(task);
  });
}

// Rows of head h of sample b in a tensor [B, rows, heads, width].
template <class T>
Rows<const T> rows_of(const Tensor& x, int64_t b, int64_t h) {
  return {x.data<T>() + b * x.strides()[0] + h * x.strides()[2], x.strides()[1]};
}
template <class T>
Rows<T> rows_of(Tensor& x, int64_t b, int64_t h) {
  return {x.data<T>() + b * x.strides()[0] + h * x.strides()[2], x.strides()[1]};
}

template <class T>
Head<T> head_of(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias, const AttentionSpec& spec,
                int64_t b, int64_t h) {
  Head<T> head{};
  const int64_t heads = q.shape()[2];
  const int64_t key_head = h / (heads / k.shape()[2]);
  head.queries = q.shape()[1];
  head.keys = k.shape()[1];
  head.key_size = q.shape()[3];
  head.value_size = v.shape()[3];
  head.q = rows_of<T>(q, b, h);
  head.k = rows_of<T>(k, b, key_head);
  head.v = rows_of<T>(v, b, key_head);
  head.spec = &spec;
  head.length = head.keys;
  if (spec.mask.lengths.defined()) head.length = spec.mask.lengths.data<int64_t>()[b * spec.mask.lengths.strides()[0]];
  if (bias.defined()) {
    head.bias = bias.data<T>() + b * bias.strides()[0] + h * bias.strides()[1];
    head.bias_row = bias.strides()[2];
    head.bias_col = bias.strides()[3];
  }
  if (const Tensor& keep = spec.mask.keep; keep.defined()) {
    head.keep = keep.data<bool>() + b * keep.strides()[0] + h * keep.strides()[1];
    head.keep_row = keep.strides()[2];
    head.keep_col = keep.strides()[3];
  }
  head.draw = (b * heads + h) * head.queries * head.keys;
  return head;
}

}  // namespace

void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias, const AttentionSpec& spec,
               Tensor& y, Tensor& lse, Tensor& weights) {
  const int64_t heads = q.shape()[2];
  const int64_t queries = q.shape()[1];
  const int64_t keys = k.shape()[1];
  if (queries == 0) return;
  visit_floating(q.dtype(), "attention", [&]<class T>(T) {
    const int64_t count = q.shape()[0] * heads;
    // Whole heads, which share packed keys and values, unless there are too few for the threads.
    const int64_t parts = count >= 4 * num_threads() || weights.defined()
                              ? 1
                              : std::min((queries + kQueries - 1) / kQueries, 4 * int64_t{num_threads()});
    share_heads(count * parts, [&](int64_t task) {
      const int64_t b = task / parts / heads;
      const int64_t h = task / parts % heads;
      Head<T> head = head_of<T>(q, k, v, bias, spec, b, h);
      head.y = rows_of<T>(y, b, h);
      head.lse = lse.data<T>() + (b * heads + h) * queries;
      if (weights.defined()) head.weights = weights.data<T>() + (b * heads + h) * queries * keys;
      const int64_t blocks = (queries + kQueries - 1) / kQueries;
      const int64_t begin = blocks * (task % parts) / parts * kQueries;
      const int64_t end = std::min(queries, blocks * (task % parts + 1) / parts * kQueries);
      if constexpr (sizeof(T) == 4) {
        HWY_DYNAMIC_DISPATCH(forward_float)(head, begin, end);
      } else {
        HWY_DYNAMIC_DISPATCH(forward_double)(head, begin, end);
      }
    });
  });
}

void attention_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                        const AttentionSpec& spec, const Tensor& y, const Tensor& lse, Tensor& dq, Tensor& dk,
                        Tensor& dv, Tensor& dbias) {
  const int64_t heads = q.shape()[2];
  const int64_t queries = q.shape()[1];
  const int64_t key_heads = k.shape()[2];
  const int64_t keys = k.shape()[1];
  visit_floating(q.dtype(), "attention", [&]<class T>(T) {
    Tensor outputs = y;
    Tensor sums = lse;
    // All query heads that share a key head in one task, one after the other: their dk and dv add up.
    share_heads(q.shape()[0] * key_heads, [&](int64_t task) {
      const int64_t b = task / key_heads;
      const int64_t group = heads / key_heads;
      for (int64_t i = 0; i < group; ++i) {
        const int64_t h = task % key_heads * group + i;
        Head<T> head = head_of<T>(q, k, v, bias, spec, b, h);
        head.y = rows_of<T>(outputs, b, h);
        head.lse = sums.data<T>() + (b * heads + h) * queries;
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
