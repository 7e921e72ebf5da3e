#pragma once

#include <cstdint>

#include "examples/sentiment/config.h"
#include "layers/dropout.h"
#include "layers/embedding.h"
#include "layers/linear.h"
#include "layers/pooling.h"
#include "layers/transformer/encoder.h"
#include "layers/transformer/positional.h"

namespace attune::examples {

/// Embedding + positions -> Transformer encoder -> pooling -> linear.
class SentimentModel : public Module {
 public:
  static constexpr int64_t kClasses = 2;

  /// max_length: of the texts in tokens.
  SentimentModel(const ModelConfig& config, int64_t vocabulary, int64_t max_length);

  /// tokens int64 [B, T], lengths int64 [B] -> logits [B, 2].
  Variable operator()(const Tensor& tokens, const Tensor& lengths) const;

 private:
  Variable positioned(const Variable& x) const;
  Variable pooled(const Variable& x, const Tensor& lengths, const AttentionMask& mask) const;

  Embedding& embed_;
  LearnedPositions* learned_ = nullptr;
  SinusoidalPositions* sinusoidal_ = nullptr;
  Dropout& embed_dropout_;
  TransformerEncoder& encoder_;
  AttentionPooling* attention_pool_ = nullptr;
  MeanPooling* mean_pool_ = nullptr;
  FirstPooling* first_pool_ = nullptr;
  Dropout& head_dropout_;
  Linear& head_;
};

}  // namespace attune::examples
