#pragma once

#include <cstdint>
#include <vector>

#include "layers/attention/multi_head.h"
#include "layers/transformer/block_options.h"
#include "layers/transformer/residual.h"

namespace attune {

/// Self-attention and a feed-forward network, each with a residual connection (Vaswani et al., 2017, section 3.1; with
/// norm_first Xiong et al., 2020, figure 1b):
///
///     post-norm:  y = norm1(x + attn(x)),  z = norm2(y + ffn(y))
///     pre-norm:   y = x + attn(norm1(x)),  z = y + ffn(norm2(y))
///
/// x [B, T, dim] -> [B, T, dim]. Children: attn, ffn, norm1, norm2.
class TransformerEncoderLayer : public Module {
 public:
  explicit TransformerEncoderLayer(const BlockOptions& options);

  /// mask: for T queries and as many keys.
  Variable operator()(const Variable& x, const AttentionMask& mask = {}) const;

 private:
  friend class TransformerEncoder;

  // attend(attn, x): over whole sequences, or with a cache.
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
  FeedForward& ffn_;
  Norm& norm1_;
  Norm& norm2_;
};

/// Keys and values of every block for the positions so far, for TransformerEncoder::step(). Moved, not copied.
class TransformerEncoderCache {
 public:
  /// Positions so far, by the sample that has most; see AttentionCache.
  int64_t length() const { return blocks_.front().length(); }
  const std::vector<int64_t>& lengths() const { return blocks_.front().lengths(); }
  /// Samples; 0 before the first step.
  int64_t batch() const { return blocks_.front().batch(); }

  /// Sample b goes on from what sample rows[b] was; see AttentionCache::select.
  void select(const Tensor& rows);

 private:
  friend class TransformerEncoder;

  std::vector<AttentionCache> blocks_;
};

struct TransformerEncoderOptions {
  int64_t blocks = 6;
  BlockOptions block{};
  bool final_norm = block.norm_first;  ///< a norm behind the last block
};

/// A stack of encoder layers: x [B, T, dim] -> [B, T, dim]. Children: block0, block1, ..., norm (with final_norm).
///
/// Under a causal mask it is a decoder without a memory (Radford et al., 2018):
///
///     encoder(x, AttentionMask::causal())
///
/// gives the same, position by position, as
///
///     auto cache = encoder.start();
///     encoder.step(x of the next position [B, 1, dim], cache)
class TransformerEncoder : public Module {
 public:
  /// Throws ValueError for fewer than one block.
  explicit TransformerEncoder(const TransformerEncoderOptions& options);

  /// mask: as for the layer, the same in every block.
  Variable operator()(const Variable& x, const AttentionMask& mask = {}) const;

  // Decoding, for values: nothing is recorded for gradients.

  /// capacity: positions that fit before memory grows for the first time.
  TransformerEncoderCache start(int64_t capacity = 0) const;
  /// The next positions, x [B, N, dim] -> [B, N, dim]; each sees itself and all before it. mask: for N queries and
  /// cache.length() + N keys, where more is to be forbidden or added to scores.
  Variable step(const Variable& x, TransformerEncoderCache& cache, const AttentionMask& mask = {}) const;
  /// The same where sample b goes on at positions[b]: see MultiHeadAttention::step. Prompts of different lengths:
  ///
  ///     y = encoder.step(prompts padded on the right [B, P, dim], cache, zeros);  // y of the last token of each
  ///     y = encoder.step(next tokens [B, 1, dim], cache, lengths), then at lengths + 1, ...
  Variable step(const Variable& x, TransformerEncoderCache& cache, const Tensor& positions,
                const AttentionMask& mask = {}) const;

 private:
  /// attends(i): how block i attends.
  template <class Attends>
  Variable run(const Variable& x, const Attends& attends) const;

  bool norm_first_;
  std::vector<TransformerEncoderLayer*> blocks_;
  Norm* norm_ = nullptr;
};

}  // namespace attune
