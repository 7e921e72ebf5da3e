#pragma once

// One head of one sample, as the loops of attention see it.

#include <algorithm>
#include <cstring>

#include "framework/kernels/attention.h"
#include "framework/kernels/cpu/gemm.h"
#include "framework/kernels/cpu/parallel.h"

namespace attune::cpu {

/// Rows by steps from one to the next; last axes have unit steps.
template <class T>
struct Rows {
  T* data = nullptr;
  int64_t step = 0;

  T* row(int64_t i) const { return data + i * step; }
};

template <class T>
struct Head {
  int64_t batch;
  int64_t index;
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
  const bool* layout;  // of blocks of MaskSpec::block_size queries and keys; null: nothing is known
  int64_t layout_row;
  int64_t layout_col;
  int64_t length;  // keys from here on are masked
  int64_t draw;    // index of the head's first weight in the dropout's draw
  const AttentionSpec* spec;
  Rows<T> y;
  T* largest;   // score of each row
  T* log_sums;  // log of the sum of exponentials less it
  T* weights;
  // backward
  Rows<const T> dy;
  Rows<T> dq, dk, dv;
  T* dbias;
  bool first_of_group;  // dk and dv are written, not added to

  // Range masks allow query t the keys first_key(t) ... last_key(t) - 1. Neither falls from a query to the next.
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

  /// Where a score stands, for formulas of the user's.
  ScoreAt place(int64_t t, int64_t s) const {
    const auto narrow = [](int64_t i) { return static_cast<int>(i); };
    return {narrow(batch), narrow(index), narrow(t), narrow(s), narrow(queries), narrow(keys)};
  }

  bool has_slope() const { return spec->softcap > 0 || spec->score; }
};

/// A block of scores: queries t0 ... t0 + rows - 1, keys s0 ... s0 + columns - 1; rows are `step` apart.
template <class T>
struct Block {
  T* p;
  int64_t t0;
  int64_t rows;
  int64_t s0;
  int64_t columns;
  int64_t step;
  const bool* allowed = nullptr;  // [rows, columns] where a mask is not a range; null: all in range

  T* row(int64_t r) const { return p + r * step; }
};

/// The keys of [begin, end) that range masks leave to queries t0 ... t0 + rows - 1, widened to whole steps of packed
/// operands. Empty: begin >= end.
template <class T>
void trim_keys(const Head<T>& head, int64_t t0, int64_t rows, int64_t& begin, int64_t& end) {
  begin = std::max(begin, head.first_key(t0) / kPackedStep * kPackedStep);
  const int64_t last = head.last_key(t0 + rows - 1);
  end = last <= begin ? begin : std::min(end, (last + kPackedStep - 1) / kPackedStep * kPackedStep);
}

/// Whether the layout of blocks leaves anything of the block.
template <class T>
bool touches_layout(const Head<T>& head, const Block<T>& block) {
  if (head.layout == nullptr) return true;
  const int64_t size = head.spec->mask.block_size;
  for (int64_t i = block.t0 / size; i <= (block.t0 + block.rows - 1) / size; ++i) {
    for (int64_t j = block.s0 / size; j <= (block.s0 + block.columns - 1) / size; ++j) {
      if (head.layout[i * head.layout_row + j * head.layout_col]) return true;
    }
  }
  return false;
}

/// Fills `allowed` [rows, columns] for masks that are no ranges; returns whether anything in the block is allowed.
/// Leaves block.allowed null where range masks say it all.
template <class T>
bool allow_block(const Head<T>& head, bool* allowed, Block<T>& block) {
  const MaskFunction& where = head.spec->mask.where;
  if (head.keep == nullptr && !where) return true;
  if (!touches_layout(head, block)) return false;
  bool any = false;
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t t = block.t0 + r;
    bool* row = allowed + r * block.columns;
    if (where) where(head.place(t, block.s0), static_cast<int>(block.columns), row);
    if (head.keep != nullptr) {
      const bool* keep = head.keep + t * head.keep_row + block.s0 * head.keep_col;
      if (where) {
        for (int64_t j = 0; j < block.columns; ++j) row[j] = row[j] && keep[j * head.keep_col];
      } else if (head.keep_col == 1) {
        std::memcpy(row, keep, static_cast<size_t>(block.columns));
      } else {
        for (int64_t j = 0; j < block.columns; ++j) row[j] = keep[j * head.keep_col];
      }
    }
    any = any || std::memchr(row, 1, static_cast<size_t>(block.columns)) != nullptr;
  }
  block.allowed = allowed;
  return any;
}

/// Rows of head h of sample b in a tensor [B, rows, heads, width].
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
  head.batch = b;
  head.index = h;
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
  if (const Tensor& layout = spec.mask.blocks; layout.defined()) {
    head.layout = layout.data<bool>() + b * layout.strides()[0] + h * layout.strides()[1];
    head.layout_row = layout.strides()[2];
    head.layout_col = layout.strides()[3];
  }
  head.draw = (b * heads + h) * head.queries * head.keys;
  return head;
}

/// Runs f(task) for every task. Many are dealt out in ranges, as rows are in products: a thread then reads what it
/// wrote itself. Few of them go to whoever is free.
template <class F>
void share_heads(int64_t tasks, F&& f) {
  if (tasks < 16 * num_threads()) return parallel_tasks(tasks, f);
  parallel_for(tasks, 1, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t task = begin; task < end; ++task) f(task);
  });
}

}  // namespace attune::cpu
