#pragma once

#include <cstdint>
#include <vector>

#include "framework/tensor.h"

namespace attune {

/// Keys and values of the positions that attention has seen, for decoding step by step (MultiHeadAttention::step,
/// remember, recall). Memory grows by doubling: appending copies what is new and, all steps taken together, what was
/// there at most once more. Holds values without history; moved, not copied.
class AttentionCache {
 public:
  /// capacity: positions that fit before memory grows for the first time. Throws ValueError when it is negative.
  explicit AttentionCache(int64_t capacity = 0);
  AttentionCache(AttentionCache&&) = default;
  AttentionCache& operator=(AttentionCache&&) = default;

  /// Positions held, by the sample that holds most.
  int64_t length() const { return length_; }
  /// Positions that each sample holds.
  const std::vector<int64_t>& lengths() const { return lengths_; }
  /// Samples; 0 before the first append().
  int64_t batch() const { return keys_.defined() ? keys_.dim(0) : 0; }

  /// Puts k [B, N, Hkv, K] and v [B, N, Hkv, Kv] behind what is held. Throws ShapeError or DTypeError when they do not
  /// fit each other or what is held, and ValueError where samples hold different numbers.
  void append(const Tensor& k, const Tensor& v);
  /// Puts them where each sample goes on, at positions[b] ... positions[b] + N - 1: int64 [B], each 0 ... lengths()[b].
  /// What stood there or behind is forgotten. Prompts of different lengths are written side by side, padded on the
  /// right, and what follows at each prompt's own end; masks keep queries from what lies behind them. Throws as
  /// append(), and ValueError naming the sample.
  void write(const Tensor& k, const Tensor& v, const Tensor& positions);
  /// length() after so many more at these positions. Throws as write().
  int64_t length_with(const Tensor& positions, int64_t count) const;

  // Views of what is held, undefined before the first append(): [B, length, Hkv, K] and [B, length, Hkv, Kv].
  Tensor keys() const { return held(keys_); }
  Tensor values() const { return held(values_); }

  /// Sample b becomes what sample rows[b] is: how a beam search goes on with its best beams. rows: int64 [n], 0 ...
  /// batch() - 1 each, repeated or left out at will; n becomes the batch. Copies unless rows are 0, 1, ... batch() - 1.
  /// Throws ShapeError, DTypeError and ValueError naming the row.
  void select(const Tensor& rows);

 private:
  void check(const Tensor& k, const Tensor& v) const;
  /// Gives `memory` room for capacity_ positions of what x has, where it has none yet or grows.
  void reserve(const Tensor& x, bool grows, Tensor& memory) const;

  Tensor held(const Tensor& memory) const { return memory.defined() ? memory.slice(1, 0, length_) : memory; }

  Tensor keys_;    // [B, capacity, Hkv, K]
  Tensor values_;  // [B, capacity, Hkv, Kv]
  int64_t length_ = 0;
  std::vector<int64_t> lengths_;
  int64_t capacity_;
};

}  // namespace attune
