#pragma once

#include <cstdint>
#include <memory>

#include "layers/linear.h"
#include "layers/module.h"
#include "layers/seq2seq/generation.h"

namespace attune {

/// What an encoder hands to a decoder: of a sentence a state for each token, of a picture one for each region.
struct EncoderOutput {
  Variable states;  ///< [B, S, M]
  Tensor lengths;   ///< int64 [B], states that each sample has; undefined: all S
  /// [B, M], all of it in one vector: the final states of a recurrent encoder. Undefined: decoders that want one take
  /// the mean of the states.
  Variable summary{};
};

struct GenerationOptions {
  int64_t capacity = 0;    ///< steps that fit before memory grows for the first time
  bool attention = false;  ///< Generation::attention() is wanted
};

/// Writes text about what an encoder has read: P(y_t | y_<t, source). Translation and captioning share it.
class TextDecoder : public Module {
 public:
  /// Teacher forcing: tokens int64 [B, T], beginning with <bos> -> features [B, T, D], of which head() makes the logits
  /// of the tokens that follow each. Position t sees tokens 0 ... t and all of the source.
  virtual Variable operator()(const EncoderOutput& source, const Tensor& tokens) = 0;
  /// D -> V.
  virtual const Linear& head() const = 0;
  int64_t vocabulary() const { return head().weight().dim(0); }

  /// The same token by token: what step() gives is head()(features) of the position, to rounding. The decoder must
  /// outlive the generation and be in evaluation mode.
  virtual std::unique_ptr<Generation> start(const EncoderOutput& source, const GenerationOptions& options = {}) = 0;
};

}  // namespace attune
