#pragma once

#include <cstdint>

#include "examples/translation/config.h"
#include "layers/seq2seq/text_decoder.h"
#include "layers/seq2seq/text_encoder.h"

namespace attune::examples::translation {

/// Encoder and decoder of a configuration. Children: encoder, decoder.
class TranslationModel : public Module {
 public:
  /// Vocabularies in tokens; max_length: of a side in tokens, <bos> or <eos> included.
  TranslationModel(const ModelConfig& config, int64_t source_vocabulary, int64_t target_vocabulary, int64_t max_length);

  /// Teacher forcing: source int64 [B, S], lengths int64 [B], target int64 [B, T], beginning with <bos> -> features
  /// [B, T, D], of which decoder().head() makes the logits of the tokens that follow each.
  Variable operator()(const Tensor& source, const Tensor& lengths, const Tensor& target);

  TextEncoder& encoder() { return *encoder_; }
  TextDecoder& decoder() { return *decoder_; }

 private:
  TextEncoder* encoder_ = nullptr;
  TextDecoder* decoder_ = nullptr;
};

}  // namespace attune::examples::translation
