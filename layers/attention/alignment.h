#pragma once

#include "layers/attention/core.h"

namespace attune {

/// The attentions that are given by their weights: output = dropout(weights) v. A variant says how its weights come
/// about, for many queries at once or for the next ones after those that a state has seen.
class AlignmentCore : public AttentionCore {
 protected:
  /// dropout: of the weights, in training only. Throws ValueError outside [0, 1).
  explicit AlignmentCore(double dropout);

  /// Weights [B, H, T, S], exactly 0 where `mask` does not allow; their gradients at such places may hold anything.
  virtual Variable align(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                         const LoweredMask& mask) = 0;

  AttentionResult attend(const Variable& q, const Variable& k, const Variable& v, const LoweredMask& mask,
                         bool want_weights) override;
  AttentionResult attend_next(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                              const LoweredMask& mask, bool want_weights) override;

 private:
  double dropout_;
};

}  // namespace attune
