#pragma once

#include <memory>

#include "layers/attention/alignment.h"
#include "layers/attention/head_linear.h"
#include "layers/attention/score.h"

namespace attune {

/// What a query gets: the expected value of the regions, or the value of one region.
enum class ImageAttentionKind : uint8_t { kSoft, kHard };

struct ImageAttentionOptions {
  ImageAttentionKind kind = ImageAttentionKind::kSoft;
  bool gate = true;    ///< multiply the output by sigmoid(f q + b)
  double dropout = 0;  ///< of the weights, in training only
};

/// Attention over the regions of an image (Xu et al., "Show, Attend and Tell", 2015, section 4), with any score
/// function; alpha = softmax(score) over the regions.
///
/// Soft (4.2): output = gate(q) sum over s of alpha(s) v(s), the gate a learned number in (0, 1) of the query (4.2.1).
/// Hard (4.1): output = gate(q) v(s), s drawn from alpha in training and the most probable region in evaluation. The
/// weights are 1 at that region and 0 elsewhere; no gradient flows through the choice. What its training needs is
/// gathered in the AttentionState of step(): log alpha(s) and the entropy of alpha, see ReinforceLoss.
///
/// Parameters: those of the score; gate.weight [H, 1, query], gate.bias [H, 1].
class ImageAttention : public AlignmentCore {
 public:
  explicit ImageAttention(std::unique_ptr<Score> score, ImageAttentionOptions options = {});

 protected:
  Variable prepare_keys(const Variable& k) const override { return score_.keys(k); }
  Variable align(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                 const LoweredMask& mask) override;
  AttentionResult attend_next(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                              const LoweredMask& mask, bool want_weights) override;

 private:
  ImageAttentionOptions options_;
  Score& score_;
  HeadLinear* gate_ = nullptr;
};

/// lambda sum over s of (1 - sum over t of weights)^2, averaged over samples and heads (Xu et al., 2015, eq. 14):
/// encourages a caption to look everywhere. weights [B, H, T, S], those of padded words zero -> scalar.
Variable doubly_stochastic_penalty(const Variable& weights, double lambda = 1);

struct ReinforceLossOptions {
  double reward = 1;      ///< lambda_r
  double entropy = 0.01;  ///< lambda_e
  double decay = 0.9;     ///< of the baseline
};

/// The loss of hard attention (Xu et al., 2015, section 4.1), whose gradient estimates that of the lower bound of the
/// log-likelihood:
/// -(log p(y | s) + lambda_r (log p(y | s) - b) log alpha(s) + lambda_e entropy), averaged over samples, where the
/// difference to the baseline b is a number without gradient. b <- decay b + (1 - decay) mean log p(y | s) after every
/// call in training. Buffer: baseline [1].
class ReinforceLoss : public Module {
 public:
  /// Throws ValueError for a decay outside [0, 1).
  explicit ReinforceLoss(ReinforceLossOptions options = {});

  /// log_likelihood [B]: of the words of each caption; state: after its last query. Throws ShapeError, and ValueError
  /// for the state of an attention that makes no choices.
  Variable operator()(const Variable& log_likelihood, const AttentionState& state);

  double baseline() const { return baseline_.value().item(); }

 private:
  ReinforceLossOptions options_;
  Variable baseline_;
};

}  // namespace attune
