#pragma once

#include <cstdint>
#include <vector>

#include "examples/sentiment/config.h"
#include "layers/dropout.h"
#include "layers/embedding.h"
#include "layers/linear.h"
#include "layers/pooling.h"
#include "layers/transformer/encoder.h"
#include "layers/transformer/positional.h"

namespace attune::examples {

/// Adds to every word what it means beside its neighbours: x + dropout(gelu(linear of the words from t - reach to
/// t + reach)), a convolution over time (Kim, 2014, section 2). Beyond the ends of a text there are zeros.
class NeighbourMixing : public Module {
 public:
  NeighbourMixing(int64_t dim, int64_t reach, double dropout);

  /// x [B, T, D], zero behind the end of each text -> [B, T, D].
  Variable operator()(const Variable& x) const;

 private:
  int64_t reach_;
  Linear& linear_;
};

/// Embedding, neighbours, positions -> Transformer encoder -> pooling -> linear.
class Classifier : public Module {
 public:
  static constexpr int64_t kClasses = 2;

  /// max_length: of the texts in tokens.
  Classifier(const ModelConfig& config, int64_t vocabulary, int64_t max_length);

  /// tokens int64 [B, T], lengths int64 [B] -> logits [B, 2].
  Variable operator()(const Tensor& tokens, const Tensor& lengths) const;

 private:
  Variable embedded(const Tensor& tokens) const;
  Variable pooled(const Variable& x, const Tensor& lengths, const AttentionMask& mask) const;

  Embedding& embed_;
  NeighbourMixing* neighbours_ = nullptr;
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

/// Some classifiers that differ in what they began with and in their dropout; each is trained by itself, and their
/// probabilities are averaged (Hansen and Salamon, "Neural Network Ensembles", 1990). One member is a classifier as
/// usual.
class SentimentModel : public Module {
 public:
  static constexpr int64_t kClasses = Classifier::kClasses;

  SentimentModel(const ModelConfig& config, int64_t vocabulary, int64_t max_length);

  int64_t members() const { return static_cast<int64_t>(members_.size()); }

  /// tokens int64 [B, T], lengths int64 [B], on any device -> logits of each of M members [M, B, 2].
  Variable operator()(const Tensor& tokens, const Tensor& lengths);

  /// Mean over the members of the probability of the second class: logits [M, B, 2] -> float64 [B].
  static Tensor probabilities(const Tensor& logits);

 private:
  std::vector<Classifier*> members_;
  std::vector<Variable> logits_;  // kept, so that a step does not allocate
};

}  // namespace attune::examples
