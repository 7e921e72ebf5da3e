#pragma once

#include <cstdint>

#include "framework/tensor.h"

namespace attune {

/// A decoder in the middle of writing B sequences, one token of each with every step: what greedy search, beam search
/// and sampling work on, whatever the model. Made by TextDecoder::start(). Nothing is recorded for gradients.
class Generation {
 public:
  Generation() = default;
  virtual ~Generation() = default;
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  /// Sequences that go on.
  virtual int64_t batch() const = 0;
  /// Tokens that can be written.
  virtual int64_t vocabulary() const = 0;
  /// Reads a token of every sequence, int64 [B], the first time what begins a sentence, and gives the logits of the
  /// tokens that follow, float [B, V]. Throws ShapeError and ValueError for other tokens.
  virtual Tensor step(const Tensor& tokens) = 0;
  /// Sequence b goes on from what sequence rows[b] was: int64 [n], 0 ... batch() - 1 each, repeated or left out at
  /// will; n becomes the batch.
  virtual void select(const Tensor& rows) = 0;
  /// What the last step looked at: weights [B, S] over the source, mean over heads (and layers), rows that sum to 1.
  /// Undefined unless GenerationOptions::attention asked for it, and for decoders that do not look.
  virtual Tensor attention() const { return {}; }
};

}  // namespace attune
