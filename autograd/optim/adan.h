#pragma once

#include <vector>

#include "autograd/optim/optimizer.h"

namespace attune {

struct AdanOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.98;
  double beta2 = 0.92;
  double beta3 = 0.99;
  double epsilon = 1e-8;
  double weight_decay = 0;
  std::vector<ParameterGroup> groups{};
};

/// Adan (Xie et al., "Adan: Adaptive Nesterov Momentum Algorithm", 2022, algorithm 1, with the corrections of bias of
/// the authors' code; betas weigh what was, as Adam's do):
///
///     d = gradient - gradient of the step before                (0 in a parameter's first step)
///     m = beta1 * m + (1 - beta1) * gradient
///     v = beta2 * v + (1 - beta2) * d
///     n = beta3 * n + (1 - beta3) * (gradient + beta2 * d)^2
///     u = (m / (1 - beta1^t) + beta2 * v / (1 - beta2^t)) / (sqrt(n / (1 - beta3^t)) + epsilon)
///     w = (w - learning_rate * u) / (1 + learning_rate * weight_decay)
///
/// State: "<parameter>.m", ".v", ".n", ".previous".
class Adan final : public Optimizer {
 public:
  explicit Adan(const ParameterList& parameters, const AdanOptions& options = {});

 private:
  void update(ParameterUpdate& p) override;

  AdanOptions options_;
};

}  // namespace attune
