#include "layers/transformer/encoder.h"

#include <string>

#include "framework/fail.h"
#include "layers/transformer/options.h"

namespace attune {

TransformerEncoderLayer::TransformerEncoderLayer(const TransformerEncoderLayerOptions& options)
    : norm_first_(options.norm_first),
      dropout_(options.dropout),
      attn_(child<MultiHeadAttention>(
          "attn", options.dim, options.heads,
          MultiHeadAttentionOptions{.bias = options.bias,
                                    .dropout = options.core ? 0 : options.attention_dropout.value_or(options.dropout),
                                    .key_heads = options.key_heads,
                                    .positions = options.positions},
          options.core ? options.core() : nullptr)),
      ffn_(child<FeedForward>("ffn", options.dim, options.ffn_dim,
                              FeedForwardOptions{.activation = options.activation,
                                                 .dropout = options.hidden_dropout.value_or(options.dropout),
                                                 .bias = options.bias})),
      norm1_(child<LayerNorm>("norm1", options.dim, LayerNormOptions{.eps = options.norm_eps, .bias = options.bias})),
      norm2_(child<LayerNorm>("norm2", options.dim, LayerNormOptions{.eps = options.norm_eps, .bias = options.bias})) {}

ResidualStep TransformerEncoderLayer::pre_norm(const Variable& x, const Variable& normed,
                                               const AttentionMask& mask) const {
  const auto [sum, normed2] = add_norm({x, attn_(normed, mask).output}, norm2_, branch_dropout());
  return {sum, ffn_(normed2)};
}

Variable TransformerEncoderLayer::operator()(const Variable& x, const AttentionMask& mask) const {
  if (norm_first_) return add_branch(pre_norm(x, norm1_(x), mask), branch_dropout());
  const Variable y = add_norm({x, attn_(x, mask).output}, norm1_, branch_dropout()).second;
  return add_norm({y, ffn_(y)}, norm2_, branch_dropout()).second;
}

TransformerEncoder::TransformerEncoder(const TransformerEncoderOptions& options) : norm_first_(options.norm_first) {
  require<ValueError>(options.blocks > 0, "TransformerEncoder: {} blocks given, expected at least 1", options.blocks);
  auto layer = common_options<TransformerEncoderLayerOptions>(options);
  layer.core = options.core;
  for (int64_t i = 0; i < options.blocks; ++i) {
    blocks_.push_back(&child<TransformerEncoderLayer>("block" + std::to_string(i), layer));
  }
  if (options.final_norm) {
    norm_ = &child<LayerNorm>("norm", options.dim, LayerNormOptions{.eps = options.norm_eps, .bias = options.bias});
  }
}

Variable TransformerEncoder::operator()(const Variable& x, const AttentionMask& mask) const {
  if (!norm_first_) {
    Variable y = x;
    for (const TransformerEncoderLayer* block : blocks_) y = (*block)(y, mask);
    return norm_ == nullptr ? y : (*norm_)(y);
  }
  return pre_norm_stack(
      x, blocks_.size(), blocks_.front()->branch_dropout(), norm_,
      [&](size_t i) -> const LayerNorm& { return blocks_[i]->norm1_; },
      [&](size_t i, const Variable& y, const Variable& normed) { return blocks_[i]->pre_norm(y, normed, mask); });
}

}  // namespace attune
