#pragma once

#include <cstdint>
#include <memory>

#include "layers/attention/alignment.h"
#include "layers/attention/head_linear.h"
#include "layers/attention/score.h"

namespace attune {

/// Where the window of local attention stands: at the query's own position, or where the query predicts.
enum class LocalKind : uint8_t { kMonotonic, kPredictive };

struct LocalAttentionOptions {
  LocalKind kind = LocalKind::kPredictive;
  int64_t window = 10;  ///< D: keys on each side of the window's middle
  double dropout = 0;   ///< of the weights, in training only
};

/// Attention inside a window [p - D, p + D] of keys (Luong et al., 2015, section 3.2), with any score function.
///
/// local-m: p = t, the position of the query; softmax(score) over the window.
/// local-p: p = S sigmoid(v tanh(W q)) (eq. 9), S the sample's length by AttentionMask::padding, or all keys; the
/// softmax over the window is then multiplied by exp(-(s - p)^2 / (2 sigma^2)), sigma = D / 2 (eq. 10), and not
/// normalised again: weights sum to less than 1.
///
/// Parameters besides those of the score: local-p has w.weight [H, hidden, query], v.weight [H, 1, hidden].
class LocalAttention : public AlignmentCore {
 public:
  /// Throws ValueError for a window below 1.
  explicit LocalAttention(std::unique_ptr<Score> score, LocalAttentionOptions options = {});

 protected:
  Variable prepare_keys(const Variable& k) const override { return score_.keys(k); }
  Variable align(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                 const LoweredMask& mask) override;

 private:
  /// p: [B, H, T, 1]
  Variable predicted(const Variable& q, const LoweredMask& mask, int64_t keys) const;

  LocalAttentionOptions options_;
  Score& score_;
  HeadLinear* w_ = nullptr;
  HeadLinear* v_ = nullptr;
};

}  // namespace attune
