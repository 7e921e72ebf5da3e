#pragma once

#include "layers/seq2seq/text_embedding.h"
#include "layers/seq2seq/text_encoder.h"
#include "layers/transformer/decoder.h"

namespace attune {

struct TransformerTextEncoderOptions {
  int64_t vocabulary = 0;
  TextEmbeddingOptions embedding{};  ///< TextPositions::kNone beside encoder.block.positions
  TransformerEncoderOptions encoder{};
};

/// Reads sentences by a Transformer encoder (Vaswani et al., 2017, section 3): embeddings with positions, then self-
/// attention in which padding is masked. Children: embedding, encoder.
class TransformerTextEncoder : public TextEncoder {
 public:
  /// table: an embedding table [vocabulary, dim] to share; undefined: one of its own. Throws ValueError for extents
  /// below 1 and a table of another shape.
  explicit TransformerTextEncoder(const TransformerTextEncoderOptions& options, const Variable& table = {});

  EncoderOutput operator()(const Tensor& tokens, const Tensor& lengths) override;
  int64_t dim() const override { return embedding_.table().dim(1); }
  const TextEmbedding& embedding() const { return embedding_; }

 private:
  TextEmbedding& embedding_;
  TransformerEncoder& encoder_;
};

struct TransformerTextDecoderOptions {
  int64_t vocabulary = 0;
  TextEmbeddingOptions embedding{};
  TransformerDecoderOptions decoder{};  ///< memory.dim: width of the encoder's states
  bool share_head = true;               ///< the head's weight is the embedding's table (Press and Wolf, 2017)
  bool head_bias = false;
};

/// Writes text by a Transformer decoder: embeddings with positions, then causal self-attention and attention to the
/// encoder's states, whose padding is masked. Children: embedding, decoder, head.
///
/// With one table for everything, as Vaswani et al., 2017, section 3.4, for a joint vocabulary:
///
///     encoder_(child<TransformerTextEncoder>("encoder", encoder_options)),
///     decoder_(child<TransformerTextDecoder>("decoder", decoder_options, encoder_.embedding().table()))
///
/// Generation::attention() is the mean over heads and blocks.
class TransformerTextDecoder : public TextDecoder {
 public:
  /// As TransformerTextEncoder.
  explicit TransformerTextDecoder(const TransformerTextDecoderOptions& options, const Variable& table = {});

  Variable operator()(const EncoderOutput& source, const Tensor& tokens) override;
  const Linear& head() const override { return head_; }
  std::unique_ptr<Generation> start(const EncoderOutput& source, const GenerationOptions& options = {}) override;

  const TextEmbedding& embedding() const { return embedding_; }
  const TransformerDecoder& decoder() const { return decoder_; }

 private:
  TextEmbedding& embedding_;
  TransformerDecoder& decoder_;
  Linear& head_;
};

}  // namespace attune
