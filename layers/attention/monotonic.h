#pragma once

#include <memory>

#include "layers/attention/alignment.h"
#include "layers/attention/score.h"

namespace attune {

struct MonotonicAttentionOptions {
  double noise = 1;    ///< standard deviation of what is added to the energies in training; drives p towards 0 or 1
  double offset = -1;  ///< r at the beginning; below 0, the alignment begins by looking far ahead
  double dropout = 0;  ///< of the weights, in training only
};

/// Monotonic attention (Raffel et al., "Online and Linear-Time Attention by Enforcing Monotonic Alignments", 2017,
/// sections 2.2 and 2.3), over any score function: a query walks along the keys from where the one before it stopped,
/// and stops at key s with probability p(t, s) = sigmoid(score + r + bias), r learned.
///
/// Training: the expected alignment, with normal noise in front of the sigmoid,
/// weights(t, s) = p(t, s) q(t, s), q(t, s) = (1 - p(t, s - 1)) q(t, s - 1) + weights(t - 1, s), weights(-1) = one at
/// the first key. Evaluation: hard choices, the same recurrence with p = 1 where score + r + bias > 0, else 0; no
/// gradient flows through them. Weights sum to at most 1: the walk may pass the last key, and no later query comes
/// back.
///
/// Masked keys are passed by; a query without any key leaves the alignment where it was. Parameters: those of the
/// score; offset [H] (r).
class MonotonicAttention : public AlignmentCore {
 public:
  /// Throws ValueError for a negative noise.
  explicit MonotonicAttention(std::unique_ptr<Score> score, MonotonicAttentionOptions options = {});

 protected:
  Variable prepare_keys(const Variable& k) const override { return score_.keys(k); }
  Variable align(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                 const LoweredMask& mask) override;

 private:
  Variable stopping(const Variable& energies) const;

  MonotonicAttentionOptions options_;
  Score& score_;
  Variable offset_;
};

}  // namespace attune
