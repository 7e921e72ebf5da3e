#include "autograd/optim/adam.h"

#include "framework/fail.h"

namespace attune {

Adam::Adam(const ParameterList& parameters, const AdamOptions& options) : Adam("Adam", parameters, options, false) {}

Adam::Adam(const char* who, const ParameterList& parameters, const AdamOptions& options, bool decoupled)
    : Optimizer(who, parameters, {options.learning_rate, options.weight_decay, options.groups},
                std::vector<StateTensor>{{"m"}, {"v"}}),
      rule_{options.beta1, options.beta2, options.epsilon, decoupled} {
  check_betas({options.beta1, options.beta2});
  require<ValueError>(options.epsilon >= 0, "{}: epsilon {} is below 0", who, options.epsilon);
}

void Adam::update_flat(Flat& flat, const GradientTransform& transform) {
  kernels::adam_step(flat.value, flat.gradient, flat.moments[0], flat.moments[1], flat.ranges, transform, rule_);
}

AdamW::AdamW(const ParameterList& parameters, const AdamWOptions& options)
    : Adam("AdamW", parameters,
           {options.learning_rate, options.beta1, options.beta2, options.epsilon, options.weight_decay, options.groups},
           true) {}

}  // namespace attune
