#pragma once

#include <cstdint>

#include "layers/dropout.h"
#include "layers/embedding.h"
#include "layers/transformer/positional.h"

namespace attune {

/// What is added to embeddings to tell positions apart; kNone where the layers above know them.
enum class TextPositions : uint8_t { kNone, kSinusoidal, kLearned };

struct TextEmbeddingOptions {
  TextPositions positions = TextPositions::kSinusoidal;
  int64_t max_length = 1024;  ///< positions that there are
  double dropout = 0.1;       ///< of the sum, in training only
};

/// dropout(sqrt(dim) table[token] + position) (Vaswani et al., 2017, sections 3.4, 3.5 and 5.4): tokens int64 [B, T] ->
/// [B, T, dim]. The table begins normal with stddev 1 / sqrt(dim), which suits both of its uses when an output layer
/// shares it (Press and Wolf, 2017): embeddings and logits begin with variance 1.
/// Children: tokens (Embedding), positions (unless kNone).
class TextEmbedding : public Module {
 public:
  /// Throws ValueError for extents below 1.
  TextEmbedding(int64_t vocabulary, int64_t dim, TextEmbeddingOptions options = {});
  /// With the table of another one, [vocabulary, dim].
  explicit TextEmbedding(const Variable& table, TextEmbeddingOptions options = {});

  /// offset: position of the first of the T, when decoding step by step. Throws ShapeError naming the module, also when
  /// the positions go beyond max_length, and ValueError for a token outside the table.
  Variable operator()(const Tensor& tokens, int64_t offset = 0) const;

  /// [vocabulary, dim]
  const Variable& table() const { return tokens_.weight(); }

 private:
  void add_parts(const TextEmbeddingOptions& options);

  Embedding& tokens_;
  const SinusoidalPositions* sinusoidal_ = nullptr;
  const LearnedPositions* learned_ = nullptr;
  const Dropout* dropout_ = nullptr;
};

}  // namespace attune
