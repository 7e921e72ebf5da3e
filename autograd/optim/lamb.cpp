#include "autograd/optim/lamb.h"

#include <cmath>

#include "framework/fail.h"
#include "framework/math/arithmetic.h"
#include "framework/math/compare.h"
#include "framework/math/reduce.h"

namespace attune {

Lamb::Lamb(const ParameterList& parameters, const LambOptions& options)
    : Optimizer("Lamb", parameters, {options.learning_rate, options.weight_decay, options.groups}, {{"m"}, {"v"}}),
      options_(options) {
  check_betas({options.beta1, options.beta2});
  require<ValueError>(options.epsilon >= 0, "Lamb: epsilon {} is below 0", options.epsilon);
}

void Lamb::update(ParameterUpdate& p) {
  Tensor& m = p.state[0];
  Tensor& v = p.state[1];
  m.copy_(lerp(m, p.grad, 1 - options_.beta1));
  v.copy_(lerp(v, square(p.grad), 1 - options_.beta2));
  const auto t = static_cast<double>(p.step);
  const Tensor deviation = sqrt(v / (1 - std::pow(options_.beta2, t))) + options_.epsilon;
  const Tensor u = m / (1 - std::pow(options_.beta1, t)) / deviation + p.weight_decay * p.value;
  const Tensor size = norm(p.value);
  const Tensor length = norm(u);
  // Tensors, so that no device is waited for.
  const Tensor ratio = where((size > 0) & (length > 0), size / length, 1);
  p.value -= p.learning_rate * ratio * u;
}

}  // namespace attune
