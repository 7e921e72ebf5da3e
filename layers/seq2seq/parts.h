#pragma once

// For .cpp files only: what the text models have in common.

#include <memory>

#include "framework/fail.h"
#include "layers/seq2seq/text_embedding.h"
#include "layers/seq2seq/text_encoder.h"

namespace attune {

/// An embedding with a table of its own, or with the given one, which must be [vocabulary, dim].
inline std::unique_ptr<TextEmbedding> make_embedding(const char* who, int64_t vocabulary, int64_t dim,
                                                     const TextEmbeddingOptions& options, const Variable& table) {
  if (!table.defined()) return std::make_unique<TextEmbedding>(vocabulary, dim, options);
  require<ValueError>(table.shape() == Shape{vocabulary, dim},
                      "{}: the table to share is {}, expected [vocabulary, dim] = [{}, {}]", who, table.shape(),
                      vocabulary, dim);
  return std::make_unique<TextEmbedding>(table, options);
}

/// dim -> vocabulary, on the table when that is shared.
inline std::unique_ptr<Linear> make_head(const TextEmbedding& embedding, bool shared, bool bias) {
  const Variable& table = embedding.table();
  if (shared) return std::make_unique<Linear>(table, LinearOptions{.bias = bias});
  return std::make_unique<Linear>(table.dim(1), table.dim(0), LinearOptions{.bias = bias});
}

/// Throws where dropout would make generation random.
inline void require_evaluation(const Module& decoder, const char* layer) {
  require<ValueError>(!decoder.training(), "{}: start() in training mode; call eval() first", decoder.who(layer));
}

/// Tokens of one step, int64 [B].
inline void check_step(const Module& decoder, const char* layer, const Tensor& tokens, int64_t batch) {
  require<ShapeError>(tokens.shape() == Shape{batch}, "{}: tokens of a step are {}, expected [{}]", decoder.who(layer),
                      tokens.shape(), batch);
}

/// Which of the source's states exist.
inline AttentionMask padding_of(const EncoderOutput& source) {
  return source.lengths.defined() ? AttentionMask::padding(source.lengths) : AttentionMask();
}

}  // namespace attune
