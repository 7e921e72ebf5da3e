#include "autograd/optim/sgd.h"

#include "framework/fail.h"

namespace attune {

Sgd::Sgd(const ParameterList& parameters, const SgdOptions& options)
    : Optimizer("Sgd", parameters, {options.learning_rate, options.weight_decay, options.groups},
                options.momentum > 0 ? std::vector<StateTensor>{{"momentum"}} : std::vector<StateTensor>{}),
      rule_{options.momentum, options.dampening, options.nesterov} {
  require<ValueError>(options.momentum >= 0, "Sgd: momentum {} is below 0", options.momentum);
  require<ValueError>(!options.nesterov || (options.momentum > 0 && options.dampening == 0),
                      "Sgd: nesterov needs momentum > 0 and dampening 0, got {} and {}", options.momentum,
                      options.dampening);
}

void Sgd::update_flat(Flat& flat, const GradientTransform& transform) {
  Tensor& momentum = flat.moments.empty() ? no_momentum_ : flat.moments[0];
  kernels::sgd_step(flat.value, flat.gradient, momentum, flat.ranges, transform, rule_);
}

}  // namespace attune
