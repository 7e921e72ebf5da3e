#pragma once

#include <vector>

#include "autograd/optim/optimizer.h"

namespace attune {

struct SgdOptions {
  double learning_rate = 0.01;
  double momentum = 0;
  double dampening = 0;
  bool nesterov = false;  ///< needs momentum > 0 and dampening 0
  double weight_decay = 0;
  std::vector<ParameterGroup> groups{};
};

/// Gradient descent with momentum (Polyak, 1964; Nesterov's form as in Sutskever et al., 2013), in PyTorch's terms:
///
///     g = gradient + weight_decay * w
///     b = momentum * b + (1 - dampening) * g      (b = g in a parameter's first step)
///     w = w - learning_rate * (nesterov ? g + momentum * b : b)
///
/// State: "<parameter>.momentum" when momentum > 0.
class Sgd final : public Optimizer {
 public:
  explicit Sgd(const ParameterList& parameters, const SgdOptions& options = {});

 private:
  void update_flat(Flat& flat, const GradientTransform& transform) override;

  SgdRule rule_;
  Tensor no_momentum_;
};

}  // namespace attune
