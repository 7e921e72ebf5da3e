#pragma once

#include <memory>

#include "layers/attention/multi_head.h"
#include "layers/transformer/block_options.h"

// What the blocks make of their options.

namespace attune {

/// Of an attention with a core made by `core`, or without.
inline MultiHeadAttentionOptions attention_options(const BlockOptions& block, const AttentionFactory& core) {
  return {.bias = block.bias,
          .dropout = core ? 0 : block.attention_dropout.value_or(block.dropout),
          .key_heads = block.key_heads};
}

inline MultiHeadAttentionOptions self_attention_options(const BlockOptions& block) {
  MultiHeadAttentionOptions options = attention_options(block, block.core);
  options.positions = block.positions;
  return options;
}

inline std::unique_ptr<AttentionCore> made(const AttentionFactory& core) { return core ? core() : nullptr; }

inline FeedForwardOptions feed_forward_options(const BlockOptions& block) {
  return {.activation = block.activation,
          .dropout = block.hidden_dropout.value_or(block.dropout),
          .bias = block.bias,
          .kind = block.feed_forward};
}

inline std::unique_ptr<Norm> block_norm(const BlockOptions& block) {
  return make_norm(block.dim, {.kind = block.norm, .eps = block.norm_eps, .bias = block.bias});
}

}  // namespace attune
