#include <array>
#include <memory>

#include "autograd/optim/adam.h"
#include "autograd/optim/sgd.h"
#include "framework/fail.h"
#include "tests/golden/layers.h"

namespace attune::golden {
namespace {

/// inputs/initial [...], inputs/grads [steps, ...] -> outputs/params [steps, ...].
void run_steps(Session& session, Optimizer& optimizer, Variable& parameter) {
  const Tensor gradients = session.raw("grads").to(session.dtype()).to(session.device());
  require<FormatError>(gradients.rank() == parameter.rank() + 1,
                       "inputs/grads has shape {}, expected [steps, ...] of {}", gradients.shape(), parameter.shape());
  Tensor after = Tensor::empty(gradients.shape(), session.dtype());
  for (int64_t step = 0; step < gradients.dim(0); ++step) {
    parameter.backward(gradients.select(0, step));
    optimizer.step();
    after.select(0, step).copy_(parameter.value());
  }
  session.output("params", Variable(after));
}

Variable initial(Session& session) {
  return Variable(session.raw("initial").to(session.dtype()).clone().to(session.device()), true);
}

void run_sgd(Session& session, Options& options, AttentionPath) {
  SgdOptions sgd;
  sgd.learning_rate = options.get("lr", 1e-3);
  sgd.momentum = options.get("momentum", 0.0);
  sgd.dampening = options.get("dampening", 0.0);
  sgd.nesterov = options.get("nesterov", false);
  sgd.weight_decay = options.get("weight_decay", 0.0);
  options.only("maximize", false);
  options.ignore({"foreach", "differentiable", "fused"});
  options.finish();
  Variable parameter = initial(session);
  Sgd optimizer(std::vector<Variable>{parameter}, sgd);
  run_steps(session, optimizer, parameter);
}

template <class Optimizer, class Settings>
void run_adam(Session& session, Options& options, AttentionPath) {
  Settings adam;
  adam.learning_rate = options.get("lr", 1e-3);
  const auto betas = options.get("betas", std::array<double, 2>{0.9, 0.999});
  adam.beta1 = betas[0];
  adam.beta2 = betas[1];
  adam.epsilon = options.get("eps", 1e-8);
  adam.weight_decay = options.get("weight_decay", adam.weight_decay);
  options.only("amsgrad", false);
  options.only("maximize", false);
  options.ignore({"foreach", "differentiable", "fused", "capturable"});
  options.finish();
  Variable parameter = initial(session);
  Optimizer optimizer(std::vector<Variable>{parameter}, adam);
  run_steps(session, optimizer, parameter);
}

}  // namespace

const std::vector<Layer> kOptimizers = {
    {"SGD", &run_sgd, false},
    {"Adam", &run_adam<Adam, AdamOptions>, false},
    {"AdamW", &run_adam<AdamW, AdamWOptions>, false},
};

}  // namespace attune::golden
