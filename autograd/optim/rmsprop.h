#pragma once

#include <vector>

#include "autograd/optim/optimizer.h"

namespace attune {

struct RmsPropOptions {
  double learning_rate = 0.01;
  double alpha = 0.99;  ///< of the running mean of squares
  double epsilon = 1e-8;
  double momentum = 0;
  bool centered = false;  ///< divides by the deviation from the running mean of gradients
  double weight_decay = 0;
  std::vector<ParameterGroup> groups{};
};

/// RMSprop (Tieleman and Hinton, "Lecture 6.5", 2012; centered: Graves, 2013, equation 38), in PyTorch's terms:
///
///     g = gradient + weight_decay * w
///     v = alpha * v + (1 - alpha) * g^2
///     a = alpha * a + (1 - alpha) * g                           (0 unless centered)
///     u = g / (sqrt(v - a^2) + epsilon)
///     b = momentum * b + u                                      (u itself without momentum)
///     w = w - learning_rate * b
///
/// State: "<parameter>.v", ".a" when centered, ".momentum" when momentum > 0.
class RmsProp final : public Optimizer {
 public:
  explicit RmsProp(const ParameterList& parameters, const RmsPropOptions& options = {});

 private:
  void update(ParameterUpdate& p) override;

  RmsPropOptions options_;
};

}  // namespace attune
