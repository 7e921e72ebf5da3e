#pragma once

#include <vector>

#include "autograd/optim/optimizer.h"

namespace attune {

struct AdagradOptions {
  double learning_rate = 0.01;
  double learning_rate_decay = 0;
  double initial_accumulator = 0;
  double epsilon = 1e-10;
  double weight_decay = 0;
  std::vector<ParameterGroup> groups{};
};

/// Adagrad (Duchi et al., 2011, figure 1, diagonal), in PyTorch's terms:
///
///     g = gradient + weight_decay * w
///     s = s + g^2
///     w = w - learning_rate / (1 + (t - 1) learning_rate_decay) * g / (sqrt(initial_accumulator + s) + epsilon)
///
/// State: "<parameter>.sum".
class Adagrad final : public Optimizer {
 public:
  explicit Adagrad(const ParameterList& parameters, const AdagradOptions& options = {});

 private:
  void update(ParameterUpdate& p) override;

  AdagradOptions options_;
};

}  // namespace attune
