#include "autograd/optim/lion.h"

#include "framework/math/arithmetic.h"

namespace attune {

Lion::Lion(const ParameterList& parameters, const LionOptions& options)
    : Optimizer("Lion", parameters, {options.learning_rate, options.weight_decay, options.groups}, {{"m"}}),
      options_(options) {
  check_betas({options.beta1, options.beta2});
}

void Lion::update(ParameterUpdate& p) {
  Tensor& m = p.state[0];
  p.value -= p.learning_rate * (sign(lerp(m, p.grad, 1 - options_.beta1)) + p.weight_decay * p.value);
  m.copy_(lerp(m, p.grad, 1 - options_.beta2));
}

}  // namespace attune
