#pragma once

#include <cstdint>
#include <vector>

#include "layers/transformer/encoder.h"

namespace attune {

/// Of a decoder's attention to the memory, beside what its block says.
struct MemoryOptions {
  int64_t dim = 0;          ///< width of the memory; 0: the block's
  AttentionFactory core{};  ///< with a dropout of its own; scaled dot product without one
};

/// Self-attention, attention to a memory and a feed-forward network, each with a residual connection (Vaswani et al.,
/// 2017, section 3.1; with norm_first Xiong et al., 2020):
///
///     post-norm:  y = norm1(x + attn(x)),  z = norm2(y + cross(y, memory)),         norm3(z + ffn(z))
///     pre-norm:   y = x + attn(norm1(x)),  z = y + cross(norm2(y), memory),         z + ffn(norm3(z))
///
/// x [B, T, dim], memory [B, S, M] -> [B, T, dim]. Children: attn, cross, ffn, norm1, norm2, norm3.
class TransformerDecoderLayer : public Module {
 public:
  explicit TransformerDecoderLayer(const BlockOptions& options, const MemoryOptions& memory = {});

  /// mask: for T queries and as many keys; nothing is causal by itself. memory_mask: for T queries and S keys.
  Variable operator()(const Variable& x, const Variable& memory, const AttentionMask& mask = {},
                      const AttentionMask& memory_mask = {}) const;

 private:
  friend class TransformerDecoder;

  // Attend: attends to itself and to the memory, with or without a cache.
  /// A block that is not fused with its neighbours.
  template <class Attend>
  Variable on_its_own(const Variable& x, const Attend& attend) const;
  template <class Attend>
  Variable post_norm(const Variable& x, const Attend& attend) const;
  /// From norm1(x) on.
  template <class Attend>
  ResidualStep pre_norm(const Variable& x, const Variable& normed, const Attend& attend) const;
  double branch_dropout() const { return training() ? dropout_ : 0; }

  bool norm_first_;
  double dropout_;
  MultiHeadAttention& attn_;
  MultiHeadAttention& cross_;
  FeedForward& ffn_;
  Norm& norm1_;
  Norm& norm2_;
  Norm& norm3_;
};

/// What a decoder knows of the positions so far, made by TransformerDecoder::start(): keys and values of every block,
/// those of the memory computed once. Moved, not copied.
class TransformerDecoderCache {
 public:
  /// Positions so far, by the sequence that has most; see AttentionCache.
  int64_t length() const { return layers_.front().self.length(); }
  const std::vector<int64_t>& lengths() const { return layers_.front().self.lengths(); }
  /// Sequences that go on.
  int64_t batch() const { return static_cast<int64_t>(memories_.size()); }

  /// Sequence b goes on from what sequence rows[b] was; see AttentionCache::select. The memory is copied only where a
  /// sequence gets another one: a beam search that keeps a sample's beams together copies it once, when it begins with
  /// `beam` rows for each sample.
  void select(const Tensor& rows);

 private:
  friend class TransformerDecoder;

  struct Layer {
    AttentionCache self;
    AttentionCache memory;
  };

  std::vector<Layer> layers_;
  std::vector<int64_t> memories_;  // of each sequence: the sample of start() whose memory it attends to
  Tensor memory_lengths_;          // int64 [B], or undefined
};

struct TransformerDecoderOptions {
  int64_t blocks = 6;
  BlockOptions block{};
  MemoryOptions memory{};
  bool final_norm = block.norm_first;  ///< a norm behind the last block
};

/// A stack of decoder layers: x [B, T, dim], memory [B, S, M] -> [B, T, dim].
/// Children: block0, block1, ..., norm (with final_norm).
///
///     decoder(x, memory, AttentionMask::causal(), AttentionMask::padding(memory_lengths))
///
/// gives the same, position by position, as
///
///     auto cache = decoder.start(memory, memory_lengths);
///     decoder.step(x of the next position [B, 1, dim], cache)
class TransformerDecoder : public Module {
 public:
  /// Throws ValueError for fewer than one block.
  explicit TransformerDecoder(const TransformerDecoderOptions& options);

  /// Masks: as for the layer, the same in every block.
  Variable operator()(const Variable& x, const Variable& memory, const AttentionMask& mask = {},
                      const AttentionMask& memory_mask = {}) const;

  // Decoding, for values: nothing is recorded for gradients.

  /// Takes the memory in. memory_lengths: int64 [B], keys that each sample has; undefined: all. capacity: positions
  /// that fit before memory grows for the first time.
  TransformerDecoderCache start(const Variable& memory, const Tensor& memory_lengths = {}, int64_t capacity = 0) const;
  /// The next positions, x [B, N, dim] -> [B, N, dim]; each sees itself and all before it. mask: for N queries and
  /// cache.length() + N keys, where more is to be forbidden or added to scores. memory_weights: where to put the
  /// weights over the memory [B, N, S], mean over heads and blocks; null: they are not wanted.
  Variable step(const Variable& x, TransformerDecoderCache& cache, const AttentionMask& mask = {},
                Tensor* memory_weights = nullptr) const;
  /// The same where sample b goes on at positions[b]: see TransformerEncoder::step.
  Variable step(const Variable& x, TransformerDecoderCache& cache, const Tensor& positions,
                const AttentionMask& mask = {}, Tensor* memory_weights = nullptr) const;

 private:
  /// positions: of each sample, or null where all go on behind what they hold.
  Variable step_at(const Variable& x, TransformerDecoderCache& cache, const Tensor* positions,
                   const AttentionMask& mask, Tensor* memory_weights) const;
  /// attends(i): how block i attends.
  template <class Attends>
  Variable run(const Variable& x, const Attends& attends) const;

  bool norm_first_;
  std::vector<TransformerDecoderLayer*> blocks_;
  Norm* norm_ = nullptr;
};

}  // namespace attune
