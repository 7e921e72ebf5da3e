#include "examples/sentiment/model.h"

#include "datasets/vocabulary.h"

namespace attune::examples {

SentimentModel::SentimentModel(const ModelConfig& config, int64_t vocabulary, int64_t max_length)
    : embed_(child<Embedding>("embed", vocabulary, config.dim,
                              EmbeddingOptions{.padding_index = Vocabulary::kPad, .scale = true})),
      embed_dropout_(child<Dropout>("embed_dropout", config.embedding_dropout)),
      encoder_(child<TransformerEncoder>("encoder", TransformerEncoderOptions{.dim = config.dim,
                                                                              .heads = config.heads,
                                                                              .blocks = config.blocks,
                                                                              .ffn_dim = config.ffn_dim,
                                                                              .dropout = config.dropout,
                                                                              .norm_first = config.norm_first})),
      head_dropout_(child<Dropout>("head_dropout", config.head_dropout)),
      head_(child<Linear>("head", config.dim, kClasses)) {
  if (config.positions == "learned") learned_ = &child<LearnedPositions>("positions", config.dim, max_length);
  if (config.positions == "sinusoidal") sinusoidal_ = &child<SinusoidalPositions>("positions", config.dim, max_length);
  if (config.pooling == "attention") {
    attention_pool_ = &child<AttentionPooling>("pool", config.dim, AttentionPoolingOptions{.heads = config.heads});
  } else if (config.pooling == "mean") {
    mean_pool_ = &child<MeanPooling>("pool");
  } else {
    first_pool_ = &child<FirstPooling>("pool");
  }
}

Variable SentimentModel::positioned(const Variable& x) const {
  if (learned_ != nullptr) return (*learned_)(x);
  return sinusoidal_ != nullptr ? (*sinusoidal_)(x) : x;
}

Variable SentimentModel::pooled(const Variable& x, const Tensor& lengths, const AttentionMask& mask) const {
  if (attention_pool_ != nullptr) return (*attention_pool_)(x, mask).output;
  return mean_pool_ != nullptr ? (*mean_pool_)(x, lengths) : (*first_pool_)(x);
}

Variable SentimentModel::operator()(const Tensor& tokens, const Tensor& lengths) const {
  const AttentionMask mask = AttentionMask::padding(lengths);
  const Variable x = encoder_(embed_dropout_(positioned(embed_(tokens))), mask);  // [B, T, D]
  return head_(head_dropout_(pooled(x, lengths, mask)));
}

}  // namespace attune::examples
