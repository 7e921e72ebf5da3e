#include "autograd/optim/adamax.h"

#include <cmath>

#include "framework/fail.h"
#include "framework/math/arithmetic.h"

namespace attune {

Adamax::Adamax(const ParameterList& parameters, const AdamaxOptions& options)
    : Optimizer("Adamax", parameters, {options.learning_rate, options.weight_decay, options.groups}, {{"m"}, {"u"}}),
      options_(options) {
  check_betas({options.beta1, options.beta2});
  require<ValueError>(options.epsilon > 0, "Adamax: epsilon {} must be above 0", options.epsilon);
}

void Adamax::update(ParameterUpdate& p) {
  const Tensor g = p.penalized_grad();
  Tensor &m = p.state[0], &u = p.state[1];
  m.copy_(lerp(m, g, 1 - options_.beta1));
  u.copy_(maximum(options_.beta2 * u, abs(g) + options_.epsilon));
  p.value -= p.learning_rate / (1 - std::pow(options_.beta1, static_cast<double>(p.step))) * m / u;
}

}  // namespace attune
