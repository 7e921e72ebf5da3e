#include "layers/seq2seq/text_embedding.h"

#include "framework/fail.h"

namespace attune {

TextEmbedding::TextEmbedding(int64_t vocabulary, int64_t dim, TextEmbeddingOptions options)
    : tokens_(child<Embedding>("tokens", vocabulary, dim, EmbeddingOptions{.scale = true})) {
  add_parts(options);
}

TextEmbedding::TextEmbedding(const Variable& table, TextEmbeddingOptions options)
    : tokens_(child<Embedding>("tokens", table, EmbeddingOptions{.scale = true})) {
  add_parts(options);
}

void TextEmbedding::add_parts(const TextEmbeddingOptions& options) {
  const int64_t dim = table().dim(1);
  if (options.positions == TextPositions::kSinusoidal) {
    sinusoidal_ = &child<SinusoidalPositions>("positions", dim, options.max_length);
  } else if (options.positions == TextPositions::kLearned) {
    learned_ = &child<LearnedPositions>("positions", dim, options.max_length);
  }
  dropout_ = &child<Dropout>("dropout", options.dropout);
}

Variable TextEmbedding::operator()(const Tensor& tokens, int64_t offset) const {
  if (tokens.rank() != 2) [[unlikely]] {
    fail<ShapeError>("{}: tokens are {}, expected [B, T]", who("TextEmbedding"), tokens.shape());
  }
  Variable x = tokens_(tokens);
  if (sinusoidal_ != nullptr) x = (*sinusoidal_)(x, offset);
  if (learned_ != nullptr) x = (*learned_)(x, offset);
  return result((*dropout_)(x));
}

}  // namespace attune
