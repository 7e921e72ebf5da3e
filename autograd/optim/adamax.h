#pragma once

#include <vector>

#include "autograd/optim/optimizer.h"

namespace attune {

struct AdamaxOptions {
  double learning_rate = 2e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  std::vector<ParameterGroup> groups{};
};

/// Adamax (Kingma and Ba, 2015, algorithm 2), weight decay as an L2 penalty, in PyTorch's terms:
///
///     g = gradient + weight_decay * w
///     m = beta1 * m + (1 - beta1) * g
///     u = max(beta2 * u, |g| + epsilon)
///     w = w - learning_rate / (1 - beta1^t) * m / u
///
/// State: "<parameter>.m" and "<parameter>.u".
class Adamax final : public Optimizer {
 public:
  explicit Adamax(const ParameterList& parameters, const AdamaxOptions& options = {});

 private:
  void update(ParameterUpdate& p) override;

  AdamaxOptions options_;
};

}  // namespace attune
