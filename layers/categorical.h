#pragma once

#include "autograd/variable.h"
#include "framework/random.h"

namespace attune {

/// Categorical distributions over the last axis: V outcomes, one distribution for each element of the axes before it.
///
///     const Categorical policy = Categorical::from_logits(net(state));
///     const Tensor action = policy.sample();
///     const Variable loss = -mean(policy.log_prob(action) * reward) - 0.01 * mean(policy.entropy());
///
/// In float32 where they are given in bfloat16.
class Categorical {
 public:
  /// logits [..., V]; -infinity for what cannot occur. Throws ValueError for NaN, infinity, and where all are
  /// -infinity, naming the distribution. Waits for the device.
  static Categorical from_logits(const Variable& logits);
  /// probabilities [..., V], divided by their sum. Throws ValueError for one that is negative, NaN or infinite and for
  /// a sum of 0, naming the distribution. Waits for the device.
  static Categorical from_probabilities(const Variable& probabilities);

  /// An outcome of each: int64 [...], on their device. One number of the stream for each, in their order, whatever the
  /// device. Waits for it.
  Tensor sample(RandomStream& stream = default_stream()) const;
  /// Log-probabilities of outcomes: int64 [...] -> [...]; a gradient flows to what the distributions were made of.
  /// Throws ValueError for an outcome outside 0 ... V - 1, naming its position.
  Variable log_prob(const Tensor& outcomes) const;
  /// In nats: [...]. 0 log 0 is 0. A gradient flows.
  Variable entropy() const;

  /// Log-probabilities of all outcomes: [..., V].
  const Variable& log_probabilities() const { return log_p_; }

 private:
  explicit Categorical(Variable log_p) : log_p_(std::move(log_p)) {}

  Variable log_p_;
};

}  // namespace attune
