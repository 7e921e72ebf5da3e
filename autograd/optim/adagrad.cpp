#include "autograd/optim/adagrad.h"

#include "framework/fail.h"
#include "framework/math/arithmetic.h"

namespace attune {

Adagrad::Adagrad(const ParameterList& parameters, const AdagradOptions& options)
    : Optimizer("Adagrad", parameters, {options.learning_rate, options.weight_decay, options.groups}, {{"sum"}}),
      options_(options) {
  require<ValueError>(options.learning_rate_decay >= 0 && options.initial_accumulator >= 0 && options.epsilon >= 0,
                      "Adagrad: learning_rate_decay {}, initial_accumulator {} and epsilon {} must be >= 0",
                      options.learning_rate_decay, options.initial_accumulator, options.epsilon);
}

void Adagrad::update(ParameterUpdate& p) {
  const Tensor g = p.penalized_grad();
  p.state[0] += square(g);
  const double rate = p.learning_rate / (1 + static_cast<double>(p.step - 1) * options_.learning_rate_decay);
  p.value -= rate * g / (sqrt(p.state[0] + options_.initial_accumulator) + options_.epsilon);
}

}  // namespace attune
