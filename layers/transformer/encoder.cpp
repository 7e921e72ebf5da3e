#include "layers/transformer/encoder.h"

#include <string>
#include <tuple>
#include <utility>

#include "autograd/ops/ops.h"
#include "framework/fail.h"

namespace attune {
namespace {

/// {x + dropout(branch), norm of it} in one pass.
std::pair<Variable, Variable> add_norm(const Variable& x, const Variable& branch, const LayerNorm& norm,
                                       double dropout) {
  return add_layer_norm(x, branch, norm.weight(), norm.bias(), norm.eps(), dropout);
}

Variable add_branch(const Variable& x, const Variable& branch, double p) {
  return add(x, p > 0 ? dropout(branch, p) : branch);
}

}  // namespace

TransformerEncoderLayer::TransformerEncoderLayer(TransformerEncoderLayerOptions options)
    : norm_first_(options.norm_first),
      dropout_(options.dropout),
      attn_(child<MultiHeadAttention>("attn", options.dim, options.heads,
                                      MultiHeadAttentionOptions{.bias = options.bias, .dropout = options.dropout})),
      ffn_(child<FeedForward>(
          "ffn", options.dim, options.ffn_dim,
          FeedForwardOptions{.activation = options.activation, .dropout = options.dropout, .bias = options.bias})),
      norm1_(child<LayerNorm>("norm1", options.dim, LayerNormOptions{.eps = options.norm_eps, .bias = options.bias})),
      norm2_(child<LayerNorm>("norm2", options.dim, LayerNormOptions{.eps = options.norm_eps, .bias = options.bias})) {}

TransformerEncoderLayer::Step TransformerEncoderLayer::pre_norm(const Variable& x, const Variable& normed,
                                                                const AttentionMask& mask) const {
  const auto [sum, normed2] = add_norm(x, attn_(normed, mask).output, norm2_, branch_dropout());
  return {sum, ffn_(normed2)};
}

Variable TransformerEncoderLayer::operator()(const Variable& x, const AttentionMask& mask) const {
  if (norm_first_) {
    const Step step = pre_norm(x, norm1_(x), mask);
    return add_branch(step.sum, step.branch, branch_dropout());
  }
  const Variable y = add_norm(x, attn_(x, mask).output, norm1_, branch_dropout()).second;
  return add_norm(y, ffn_(y), norm2_, branch_dropout()).second;
}

TransformerEncoder::TransformerEncoder(TransformerEncoderOptions options) : norm_first_(options.norm_first) {
  require<ValueError>(options.blocks > 0, "TransformerEncoder: {} blocks given, expected at least 1", options.blocks);
  const TransformerEncoderLayerOptions layer{.dim = options.dim,
                                             .heads = options.heads,
                                             .ffn_dim = options.ffn_dim,
                                             .dropout = options.dropout,
                                             .activation = options.activation,
                                             .norm_first = options.norm_first,
                                             .norm_eps = options.norm_eps,
                                             .bias = options.bias};
  for (int64_t i = 0; i < options.blocks; ++i) {
    blocks_.push_back(&child<TransformerEncoderLayer>("block" + std::to_string(i), layer));
  }
  if (options.final_norm) {
    norm_ = &child<LayerNorm>("norm", options.dim, LayerNormOptions{.eps = options.norm_eps, .bias = options.bias});
  }
}

Variable TransformerEncoder::operator()(const Variable& x, const AttentionMask& mask) const {
  Variable y = x;
  if (!norm_first_) {
    for (const TransformerEncoderLayer* block : blocks_) y = (*block)(y, mask);
    return norm_ == nullptr ? y : (*norm_)(y);
  }
  // The branch of one block is added in the same pass as the next block's first norm.
  Variable normed = blocks_.front()->norm1_(x);
  for (size_t i = 0;; ++i) {
    const TransformerEncoderLayer& block = *blocks_[i];
    const auto step = block.pre_norm(y, normed, mask);
    const bool last = i + 1 == blocks_.size();
    const LayerNorm* next = last ? norm_ : &blocks_[i + 1]->norm1_;
    if (next == nullptr) return add_branch(step.sum, step.branch, block.branch_dropout());
    std::tie(y, normed) = add_norm(step.sum, step.branch, *next, block.branch_dropout());
    if (last) return normed;
  }
}

}  // namespace attune
