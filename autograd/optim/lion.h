#pragma once

#include <vector>

#include "autograd/optim/optimizer.h"

namespace attune {

struct LionOptions {
  double learning_rate = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double weight_decay = 0;
  std::vector<ParameterGroup> groups{};
};

/// Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, algorithm 2):
///
///     w = w - learning_rate * (sign(beta1 * m + (1 - beta1) * gradient) + weight_decay * w)
///     m = beta2 * m + (1 - beta2) * gradient
///
/// State: "<parameter>.m".
class Lion final : public Optimizer {
 public:
  explicit Lion(const ParameterList& parameters, const LionOptions& options = {});

 private:
  void update(ParameterUpdate& p) override;

  LionOptions options_;
};

}  // namespace attune
