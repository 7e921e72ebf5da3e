#include "autograd/optim/rmsprop.h"

#include <optional>

#include "framework/fail.h"
#include "framework/math/arithmetic.h"

namespace attune {

namespace {

/// A state tensor that is there only when asked for.
StateTensor optional_state(const char* name, bool wanted) {
  if (wanted) return {name};
  return {name, [](const Shape&) { return std::optional<Shape>(); }};
}

}  // namespace

RmsProp::RmsProp(const ParameterList& parameters, const RmsPropOptions& options)
    : Optimizer("RmsProp", parameters, {options.learning_rate, options.weight_decay, options.groups},
                {{"v"}, optional_state("a", options.centered), optional_state("momentum", options.momentum > 0)}),
      options_(options) {
  require<ValueError>(options.alpha >= 0 && options.alpha < 1, "RmsProp: alpha {} must lie in 0 <= alpha < 1",
                      options.alpha);
  require<ValueError>(options.epsilon >= 0, "RmsProp: epsilon {} is below 0", options.epsilon);
  require<ValueError>(options.momentum >= 0, "RmsProp: momentum {} is below 0", options.momentum);
}

void RmsProp::update(ParameterUpdate& p) {
  const Tensor g = p.penalized_grad();
  Tensor& v = p.state[0];
  v.copy_(lerp(v, square(g), 1 - options_.alpha));
  Tensor deviation = sqrt(v);
  if (options_.centered) {
    Tensor& a = p.state[1];
    a.copy_(lerp(a, g, 1 - options_.alpha));
    deviation = sqrt(v - square(a));
  }
  Tensor u = g / (deviation + options_.epsilon);
  if (options_.momentum > 0) {
    p.state[2] *= options_.momentum;
    p.state[2] += u;
    u = p.state[2];
  }
  p.value -= p.learning_rate * u;
}

}  // namespace attune
