#pragma once

#include <vector>

#include "autograd/optim/optimizer.h"

namespace attune {

struct LambOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-6;
  double weight_decay = 0;
  std::vector<ParameterGroup> groups{};
};

/// LAMB (You et al., "Large Batch Optimization for Deep Learning", 2020, algorithm 2, phi the identity):
///
///     m = beta1 * m + (1 - beta1) * gradient
///     v = beta2 * v + (1 - beta2) * gradient^2
///     u = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) + weight_decay * w
///     w = w - learning_rate * |w| / |u| * u                     (1 for the ratio where one of the norms is 0)
///
/// State: "<parameter>.m" and "<parameter>.v".
class Lamb final : public Optimizer {
 public:
  explicit Lamb(const ParameterList& parameters, const LambOptions& options = {});

 private:
  void update(ParameterUpdate& p) override;

  LambOptions options_;
};

}  // namespace attune
