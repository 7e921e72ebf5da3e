#pragma once

#include <optional>

#include "layers/attention/registry.h"
#include "layers/recurrent.h"
#include "layers/seq2seq/text_embedding.h"
#include "layers/seq2seq/text_encoder.h"

namespace attune {

struct RecurrentTextEncoderOptions {
  int64_t vocabulary = 0;
  int64_t dim = 256;     ///< of embeddings
  int64_t hidden = 256;  ///< of the states of one direction
  RecurrentCell cell = RecurrentCell::kGru;
  int64_t layers = 1;
  bool bidirectional = true;
  double dropout = 0.1;  ///< of embeddings and between layers, in training only
};

/// Reads sentences by a GRU or an LSTM, in both directions by default: the states of a token know what stands before
/// and behind it (Bahdanau et al., 2015, section 3.2). states [B, S, directions hidden]; summary: the last layer's
/// final state of every direction. Children: embedding, rnn.
class RecurrentTextEncoder : public TextEncoder {
 public:
  /// table: an embedding table [vocabulary, dim] to share; undefined: one of its own. Throws ValueError for extents
  /// below 1 and a table of another shape.
  explicit RecurrentTextEncoder(const RecurrentTextEncoderOptions& options, const Variable& table = {});

  EncoderOutput operator()(const Tensor& tokens, const Tensor& lengths) override;
  int64_t dim() const override { return rnn_.directions() * rnn_.hidden_size(); }
  const TextEmbedding& embedding() const { return embedding_; }

 private:
  TextEmbedding& embedding_;
  RecurrentLayers& rnn_;
};

/// What asks and what is fed. x the embedding of a token, s the state, c what the attention found, i the first state.
enum class RecurrentForm : uint8_t {
  /// c = attend(s'), s = rnn([x; c], s'), feature = tanh(W [s; c; x]): the state before asks (Bahdanau et al., 2015,
  /// appendix A.2.2; the feature with tanh in place of maxout).
  kBahdanau,
  /// s = rnn([x; a'], s'), c = attend(s), a = feature = tanh(W [s; c]): the new state asks, and what came of it is fed
  /// to the next step (Luong et al., 2015, eq. 5 and section 3.3).
  kLuong,
};

struct RecurrentTextDecoderOptions {
  int64_t vocabulary = 0;
  int64_t memory_dim = 0;  ///< M, width of the encoder's states
  int64_t dim = 256;       ///< D, of embeddings and features
  int64_t hidden = 256;    ///< H, of states
  RecurrentCell cell = RecurrentCell::kGru;
  int64_t layers = 1;
  RecurrentForm form = RecurrentForm::kBahdanau;
  /// Variant, score, hidden width, window and dropout; queries are states and keys the encoder's states, of one head.
  /// Without: the encoder's summary is all that the decoder knows of the source, and is fed at every step.
  std::optional<AttentionConfig> attention = AttentionConfig{};
  double dropout = 0.1;     ///< of embeddings, between layers and of features, in training only
  bool share_head = false;  ///< the head's weight is the embedding's table
  bool head_bias = true;
};

/// What the attention did while a decoder was taught, for losses about it.
struct TaughtAttention {
  Variable weights;          ///< [B, 1, T, S]
  Variable log_probability;  ///< [B, T], of attention that chooses: of all choices up to each step
  Variable entropy;          ///< [B, T], the same: of the distributions chosen from, summed
};

/// Writes text by a GRU or an LSTM with any attention of the family: attention_config("location-aware"). Those that
/// compare queries with keys as they are (AttentionTraits::equal_widths) need H = M. The first state is tanh(W summary
/// + b) of every layer. Without attention it is the encoder-decoder of Cho et al., 2014, section 2.2: summary in place
/// of c, in either form.
///
/// Generation::attention() is what the attention gives; rows of local-p and monotonic attention may sum to less than 1.
///
/// Children: embedding, input (W of x inside the rnn, for all steps at once), first, rnn, attention, feature, head.
class RecurrentTextDecoder : public TextDecoder {
 public:
  /// table: as for RecurrentTextEncoder. Throws ValueError for extents below 1, a table of another shape, and sizes
  /// that do not fit the attention.
  explicit RecurrentTextDecoder(const RecurrentTextDecoderOptions& options, const Variable& table = {});

  Variable operator()(const EncoderOutput& source, const Tensor& tokens) override;
  /// The same, and what the attention did. Throws ValueError for a decoder without one.
  Variable teach(const EncoderOutput& source, const Tensor& tokens, TaughtAttention& taught);
  const Linear& head() const override { return head_; }
  std::unique_ptr<Generation> start(const EncoderOutput& source, const GenerationOptions& options = {}) override;

 private:
  friend class RecurrentGeneration;

  /// The source as the steps see it.
  struct Reading {
    Variable summary;        // [B, M]
    AttentionMemory memory;  // with attention
  };

  /// What is carried from step to step.
  struct State {
    Variable hidden;  // [layers, B, H]
    Variable cell;    // the same of an LSTM
    Variable top;     // [B, 1, H]: the last layer's hidden
    Variable fed;     // [B, 1, D], of kLuong
    AttentionState attention{};
  };

  /// What the source tells at a step.
  struct Found {
    Variable context;  // [B, N, M]
    Variable weights;  // [B, 1, 1, S], when asked for
  };

  /// Teacher forcing; taught: what is wanted of the attention, or null.
  Variable run(const EncoderOutput& source, const Tensor& tokens, TaughtAttention* taught) const;
  Reading read(const EncoderOutput& source, int64_t steps) const;
  State first_state(const Reading& reading) const;
  /// Moves the state on by x [B, N, .] with gates [B, N, G H] of the embeddings -> the last layer's states [B, N, H].
  Variable advance(const Variable& x, const Variable& gates, State& state) const;
  /// The summary, once for each of N steps.
  Found summary_of(const Reading& reading, int64_t steps) const;
  Found attend(const Reading& reading, State& state, bool want_weights) const;
  /// One step with attention: gates [B, 1, G H].
  Found step(const Reading& reading, const Variable& gates, State& state, bool want_weights) const;
  /// Features of kBahdanau and of decoders without attention.
  Variable features(const Variable& states, const Variable& contexts, const Variable& embedded) const;

  bool feeds_features() const { return attention_ != nullptr && form_ == RecurrentForm::kLuong; }

  RecurrentForm form_;
  TextEmbedding& embedding_;
  Linear& input_;
  Linear& first_;
  RecurrentLayers& rnn_;
  AttentionCore* attention_ = nullptr;
  Linear& feature_;
  Linear& head_;
};

}  // namespace attune
