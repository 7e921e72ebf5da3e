#pragma once

#include <cstdint>
#include <vector>

#include "layers/transformer/encoder.h"

namespace attune {

struct TransformerDecoderLayerOptions {
  int64_t dim = 512;
  int64_t heads = 8;
  int64_t ffn_dim = 2048;
  double dropout = 0.1;  ///< of the attention weights, of the hidden layer and of the three branches, in training only
  std::optional<double> attention_dropout{};  ///< of the weights of both attentions, where it is another
  std::optional<double> hidden_dropout{};     ///< of the hidden layer, where it is another
  Activation activation = Activation::kRelu;
  bool norm_first = false;
  double norm_eps = 1e-5;
  bool bias = true;               ///< of linears and norms
  int64_t memory_dim = 0;         ///< width of the memory; 0: dim
  int64_t key_heads = 0;          ///< of both attentions, as MultiHeadAttentionOptions has them
  PositionOptions positions{};    ///< of self-attention
  AttentionFactory core{};        ///< of self-attention, then with its own dropout; scaled dot product without one
  AttentionFactory cross_core{};  ///< of attention to the memory; the same
};

/// Self-attention, attention to a memory and a feed-forward network, each with a residual connection (Vaswani et al.,
/// 2017, section 3.1; with norm_first Xiong et al., 2020):
///
///     post-norm:  y = norm1(x + attn(x)),  z = norm2(y + cross(y, memory)),         norm3(z + ffn(z))
///     pre-norm:   y = x + attn(norm1(x)),  z = y + cross(norm2(y), memory),         z + ffn(norm3(z))
///
/// x [B, T, dim], memory [B, S, memory_dim] -> [B, T, dim]. Children: attn, cross, ffn, norm1, norm2, norm3.
class TransformerDecoderLayer : public Module {
 public:
  explicit TransformerDecoderLayer(const TransformerDecoderLayerOptions& options);

  /// mask: for T queries and as many keys; nothing is causal by itself. memory_mask: for T queries and S keys.
  Variable operator()(const Variable& x, const Variable& memory, const AttentionMask& mask = {},
                      const AttentionMask& memory_mask = {}) const;

 private:
  friend class TransformerDecoder;

  // Attend: attends to itself and to the memory, with or without a cache.
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
  LayerNorm& norm1_;
  LayerNorm& norm2_;
  LayerNorm& norm3_;
};

/// What a decoder knows of the positions so far, made by TransformerDecoder::start(): keys and values of every block,
/// those of the memory computed once. Moved, not copied.
class TransformerDecoderCache {
 public:
  /// Positions so far.
  int64_t length() const { return layers_.front().self.length(); }
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
  int64_t dim = 512;
  int64_t heads = 8;
  int64_t blocks = 6;
  int64_t ffn_dim = 2048;
  double dropout = 0.1;
  std::optional<double> attention_dropout{};
  std::optional<double> hidden_dropout{};
  Activation activation = Activation::kRelu;
  bool norm_first = false;
  double norm_eps = 1e-5;
  bool bias = true;
  bool final_norm = norm_first;  ///< a norm behind the last block
  int64_t memory_dim = 0;
  int64_t key_heads = 0;
  PositionOptions positions{};
  AttentionFactory core{};
  AttentionFactory cross_core{};
};

/// A stack of decoder layers: x [B, T, dim], memory [B, S, memory_dim] -> [B, T, dim].
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

 private:
  /// attend(i, q): how block i attends.
  template <class Attends>
  Variable run(const Variable& x, const Attends& attends) const;

  bool norm_first_;
  std::vector<TransformerDecoderLayer*> blocks_;
  LayerNorm* norm_ = nullptr;
};

}  // namespace attune
