#pragma once

#include <vector>

#include "autograd/optim/optimizer.h"

namespace attune {

struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  std::vector<ParameterGroup> groups{};
};

/// Adam (Kingma and Ba, 2015, algorithm 1), weight decay as an L2 penalty:
///
///     g = gradient + weight_decay * w
///     m = beta1 * m + (1 - beta1) * g
///     v = beta2 * v + (1 - beta2) * g^2
///     w = w - learning_rate * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)
///
/// t counts the steps in which the parameter had a gradient. State: "<parameter>.m" and "<parameter>.v".
class Adam : public Optimizer {
 public:
  explicit Adam(const ParameterList& parameters, const AdamOptions& options = {});

 protected:
  Adam(const char* who, const ParameterList& parameters, const AdamOptions& options, bool decoupled);

 private:
  void update_flat(Flat& flat, const GradientTransform& transform) override;

  AdamRule rule_;
};

struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
  std::vector<ParameterGroup> groups{};
};

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019, algorithm 2): w shrinks by learning_rate *
/// weight_decay in every step, and the moments see the plain gradient.
class AdamW final : public Adam {
 public:
  explicit AdamW(const ParameterList& parameters, const AdamWOptions& options = {});
};

}  // namespace attune
