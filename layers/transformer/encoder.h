#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "layers/attention/multi_head.h"
#include "layers/feed_forward.h"
#include "layers/norm.h"
#include "layers/transformer/residual.h"

namespace attune {

/// Makes the core of one block's attention; a stack calls it once per block.
using AttentionFactory = std::function<std::unique_ptr<AttentionCore>()>;

struct TransformerEncoderLayerOptions {
  int64_t dim = 512;
  int64_t heads = 8;
  int64_t ffn_dim = 2048;
  double dropout = 0.1;  ///< of the attention weights, of the hidden layer and of both branches, in training only
  std::optional<double> attention_dropout{};  ///< of the attention weights, where it is another
  std::optional<double> hidden_dropout{};     ///< of the hidden layer, where it is another
  Activation activation = Activation::kRelu;
  bool norm_first = false;
  double norm_eps = 1e-5;
  bool bias = true;             ///< of linears and norms
  int64_t key_heads = 0;        ///< as MultiHeadAttentionOptions has them
  PositionOptions positions{};  ///< the same
  AttentionFactory core{};      ///< how heads attend; then with the core's own dropout; scaled dot product without one
};

/// Self-attention and a feed-forward network, each with a residual connection (Vaswani et al., 2017, section 3.1; with
/// norm_first Xiong et al., 2020, figure 1b):
///
///     post-norm:  y = norm1(x + attn(x)),  z = norm2(y + ffn(y))
///     pre-norm:   y = x + attn(norm1(x)),  z = y + ffn(norm2(y))
///
/// x [B, T, dim] -> [B, T, dim]. Children: attn, ffn, norm1, norm2.
class TransformerEncoderLayer : public Module {
 public:
  explicit TransformerEncoderLayer(const TransformerEncoderLayerOptions& options);

  /// mask: for T queries and as many keys.
  Variable operator()(const Variable& x, const AttentionMask& mask = {}) const;

 private:
  friend class TransformerEncoder;

  /// Pre-norm, from norm1(x) on.
  ResidualStep pre_norm(const Variable& x, const Variable& normed, const AttentionMask& mask) const;
  double branch_dropout() const { return training() ? dropout_ : 0; }

  bool norm_first_;
  double dropout_;
  MultiHeadAttention& attn_;
  FeedForward& ffn_;
  LayerNorm& norm1_;
  LayerNorm& norm2_;
};

struct TransformerEncoderOptions {
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
  int64_t key_heads = 0;
  PositionOptions positions{};
  AttentionFactory core{};
};

/// A stack of encoder layers: x [B, T, dim] -> [B, T, dim]. Children: block0, block1, ..., norm (with final_norm).
class TransformerEncoder : public Module {
 public:
  /// Throws ValueError for fewer than one block.
  explicit TransformerEncoder(const TransformerEncoderOptions& options);

  /// mask: as for the layer, the same in every block.
  Variable operator()(const Variable& x, const AttentionMask& mask = {}) const;

 private:
  bool norm_first_;
  std::vector<TransformerEncoderLayer*> blocks_;
  LayerNorm* norm_ = nullptr;
};

}  // namespace attune
