#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "layers/activation_registry.h"
#include "layers/attention/core.h"
#include "layers/attention/positions.h"
#include "layers/feed_forward.h"
#include "layers/norm.h"

namespace attune {

/// Makes the core of one block's attention; a stack calls it once per block.
using AttentionFactory = std::function<std::unique_ptr<AttentionCore>()>;

/// What a block of a Transformer is made of, in encoders, decoders and the whole. Left as they are: the block of 2017
/// (Vaswani et al., 2017). Llama's (Touvron et al., 2023) is
///
///     BlockOptions{.dim = 512, .heads = 8, .ffn_dim = 1376, .dropout = 0, .activation = Activation::kSilu,
///                  .norm_first = true, .bias = false, .key_heads = 2,
///                  .positions = RotaryOptions{.layout = RotaryLayout::kHalves},
///                  .feed_forward = FeedForwardKind::kGated, .norm = NormKind::kRms}
struct BlockOptions {
  int64_t dim = 512;
  int64_t heads = 8;
  int64_t ffn_dim = 2048;
  double dropout = 0.1;  ///< of the attention weights, of the hidden layer and of the branches, in training only
  std::optional<double> attention_dropout{};  ///< of the attention weights, where it is another
  std::optional<double> hidden_dropout{};     ///< of the hidden layer, where it is another
  AnyActivation activation = Activation::kRelu;
  bool norm_first = false;
  double norm_eps = 1e-5;
  bool bias = true;             ///< of linears and norms
  int64_t key_heads = 0;        ///< as MultiHeadAttentionOptions has them
  PositionOptions positions{};  ///< of self-attention
  AttentionFactory core{};      ///< of self-attention, with a dropout of its own; scaled dot product without one
  FeedForwardKind feed_forward = FeedForwardKind::kPlain;
  NormKind norm = NormKind::kLayer;
};

}  // namespace attune
