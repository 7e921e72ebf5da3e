#include "autograd/optim/adan.h"

#include <cmath>

#include "framework/fail.h"
#include "framework/math/arithmetic.h"

namespace attune {

Adan::Adan(const ParameterList& parameters, const AdanOptions& options)
    : Optimizer("Adan", parameters, {options.learning_rate, options.weight_decay, options.groups},
                {{"m"}, {"v"}, {"n"}, {"previous"}}),
      options_(options) {
  check_betas({options.beta1, options.beta2, options.beta3});
  require<ValueError>(options.epsilon >= 0, "Adan: epsilon {} is below 0", options.epsilon);
}

void Adan::update(ParameterUpdate& p) {
  Tensor &m = p.state[0], &v = p.state[1], &n = p.state[2], &previous = p.state[3];
  const double beta1 = options_.beta1, beta2 = options_.beta2, beta3 = options_.beta3;
  const Tensor d = p.step == 1 ? Tensor::zeros_like(p.grad) : p.grad - previous;
  m.copy_(lerp(m, p.grad, 1 - beta1));
  v.copy_(lerp(v, d, 1 - beta2));
  n.copy_(lerp(n, square(p.grad + beta2 * d), 1 - beta3));
  previous.copy_(p.grad);
  const auto t = static_cast<double>(p.step);
  const Tensor deviation = sqrt(n / (1 - std::pow(beta3, t))) + options_.epsilon;
  const Tensor u = (m / (1 - std::pow(beta1, t)) + v * (beta2 / (1 - std::pow(beta2, t)))) / deviation;
  p.value -= p.learning_rate * u;
  p.value /= 1 + p.learning_rate * p.weight_decay;
}

}  // namespace attune
