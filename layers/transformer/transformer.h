#pragma once

#include <cstdint>

#include "layers/transformer/decoder.h"

namespace attune {

struct TransformerOptions {
  int64_t encoder_blocks = 6;
  int64_t decoder_blocks = 6;
  BlockOptions block{};    ///< of both
  bool final_norm = true;  ///< a norm behind the last block of the encoder and of the decoder
};

/// Which keys may be attended to in a Transformer's three kinds of attention.
struct TransformerMasks {
  AttentionMask source{};  ///< source to source
  AttentionMask target{};  ///< target to target; nothing is causal by itself
  AttentionMask memory{};  ///< target to source
};

/// The encoder-decoder (Vaswani et al., 2017, section 3), between embeddings and the output's projection:
/// source [B, S, dim], target [B, T, dim] -> [B, T, dim]. Children: encoder, decoder.
class Transformer : public Module {
 public:
  /// Throws ValueError for fewer than one block of either.
  explicit Transformer(const TransformerOptions& options);

  Variable operator()(const Variable& source, const Variable& target, const TransformerMasks& masks = {}) const;

  /// For decoding: encoder()(source) is the memory of decoder().start().
  const TransformerEncoder& encoder() const { return encoder_; }
  const TransformerDecoder& decoder() const { return decoder_; }

 private:
  TransformerEncoder& encoder_;
  TransformerDecoder& decoder_;
};

}  // namespace attune
