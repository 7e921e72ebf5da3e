// Losses and optimizers.

#include <functional>
#include <memory>

#include "tests/onnx/case.h"

namespace attune::onnx {
namespace {

Reduction reduction_of(const Case& c) {
  const std::string name = c.text("reduction", "mean");
  return name == "none" ? Reduction::kNone : name == "sum" ? Reduction::kSum : Reduction::kMean;
}

Ways cross_entropies(const Case& c) {
  const Variable logits = channels_last(c.var(0));
  const Reduction reduction = reduction_of(c);
  const int64_t ignored = c.integer("ignore_index", -100);
  const Tensor log_p = channels_second(log_softmax(logits)).value();
  const Variable loss =
      cross_entropy(logits, c.in(1), {.ignore_index = ignored, .reduction = reduction, .class_weights = c.in(2)});
  const Variable composed = nll_loss(log_softmax(logits), c.in(1),
                                     {.ignore_index = ignored, .reduction = reduction, .class_weights = c.in(2)});
  return {{loss.value(), log_p}, {composed.value(), log_p}};
}

Ways log_likelihoods(const Case& c) {
  const NllOptions options{
      .ignore_index = c.integer("ignore_index", -100), .reduction = reduction_of(c), .class_weights = c.in(2)};
  return {{nll_loss(channels_last(c.var(0)), c.in(1), options).value()}};
}

/// One step on the tensors X1 ..., with gradients G1 ... and, for each name of `slots`, what the optimizer keeps, which
/// follow rate and step count in this order; `steps` have been made before.
Ways step(const Case& c, const std::vector<std::string>& slots, int64_t steps,
          const std::function<std::unique_ptr<Optimizer>(const ParameterList::Entries&)>& make) {
  const size_t count = (c.inputs.size() - 2) / (2 + slots.size());
  ParameterList::Entries parameters;
  Variable loss;
  for (size_t i = 0; i < count; ++i) {
    const Variable x(c.in(2 + i).clone(), true);
    parameters.emplace_back("x" + std::to_string(i), x);
    const Variable part = sum(x * c.var(2 + count + i));
    loss = loss.defined() ? loss + part : part;
  }
  const std::unique_ptr<Optimizer> optimizer = make(parameters);
  NamedTensors state = optimizer->state();
  for (auto& [name, tensor] : state) {
    tensor = tensor.clone();
    for (size_t i = 0; i < count; ++i) {
      const std::string own = "x" + std::to_string(i) + ".";
      if (name == own + "step") tensor.fill_(static_cast<double>(steps));
      for (size_t s = 0; s < slots.size(); ++s) {
        if (name == own + slots[s]) tensor = c.in(2 + (2 + s) * count + i).clone();
      }
    }
  }
  optimizer->load_state(state);
  loss.backward();
  optimizer->step();
  std::vector<Tensor> outputs;
  for (const auto& [name, x] : parameters) outputs.push_back(x.value());
  for (const std::string& slot : slots) {
    for (const auto& [name, x] : parameters) {
      for (const auto& [kept, tensor] : optimizer->state()) {
        if (kept == name + "." + slot) outputs.push_back(tensor);
      }
    }
  }
  return {outputs};
}

Ways adagrad(const Case& c) {
  return step(c, {"sum"}, static_cast<int64_t>(c.in(1).item()), [&](const auto& parameters) {
    return std::make_unique<Adagrad>(ParameterList(parameters),
                                     AdagradOptions{.learning_rate = c.in(0).item(),
                                                    .learning_rate_decay = c.number("decay_factor", 0),
                                                    .epsilon = c.number("epsilon", 0),
                                                    .weight_decay = c.number("norm_coefficient", 0)});
  });
}

Ways adam(const Case& c) {
  if (c.in(1).item() != 0) throw NotExpressible{"Adam with epsilon before the bias correction"};
  // ONNX's step 0 corrects no bias; after 1e9 steps there is none to correct.
  return step(c, {"m", "v"}, 1000000000, [&](const auto& parameters) {
    return std::make_unique<Adam>(ParameterList(parameters),
                                  AdamOptions{.learning_rate = c.in(0).item(),
                                              .beta1 = c.number("alpha", 0.9),
                                              .beta2 = c.number("beta", 0.999),
                                              .epsilon = c.number("epsilon", 0),
                                              .weight_decay = c.number("norm_coefficient", 0)});
  });
}

Ways momentum(const Case& c) {
  // ONNX's beta is 1 in step 0; the momentum given is that of an earlier step.
  const bool first = c.in(1).item() == 0;
  return step(c, {"momentum"}, 1, [&](const auto& parameters) {
    return std::make_unique<Sgd>(ParameterList(parameters),
                                 SgdOptions{.learning_rate = c.in(0).item(),
                                            .momentum = c.number("alpha", 0),
                                            .dampening = first ? 0 : 1 - c.number("beta", 1),
                                            .nesterov = c.text("mode", "standard") == "nesterov",
                                            .weight_decay = c.number("norm_coefficient", 0)});
  });
}

}  // namespace

void add_training(Operators& ops) {
  ops["SoftmaxCrossEntropyLoss"] = cross_entropies;
  ops["NegativeLogLikelihoodLoss"] = log_likelihoods;
  ops["Adagrad"] = adagrad;
  ops["Adam"] = adam;
  ops["Momentum"] = momentum;
}

}  // namespace attune::onnx
