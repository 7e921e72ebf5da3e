#pragma once

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <span>
#include <vector>

#include "autograd/gradcheck.h"
#include "layers/module.h"
#include "tests/support/tensors.h"

namespace attune::testing {

using Call = std::function<Variable(std::span<const Variable>)>;

/// Checks the gradients of a module's parameters and of the inputs, float64; fails the running test with the report.
inline void check_gradients(Module& module, const std::vector<Tensor>& inputs, const Call& call) {
  module.to(DType::kFloat64);
  if (!inputs.empty()) {
    const GradcheckReport report = gradcheck(call, inputs);
    INFO("inputs: " << report.to_string());
    CHECK(report.ok);
  }
  const auto parameters = module.named_parameters();
  if (parameters.empty()) return;
  std::vector<Variable> constants;
  for (const Tensor& input : inputs) constants.emplace_back(input);
  const GradcheckReport report = gradcheck(std::function<Variable()>([&] { return call(constants); }), parameters);
  INFO("parameters: " << report.to_string());
  CHECK(report.ok);
}

/// Fills every parameter with small random numbers, so that none of them hides behind 0 or 1.
inline void randomise(Module& module, uint64_t seed = 11) {
  RandomStream stream(seed);
  for (auto& [name, variable] : module.named_parameters()) {
    Tensor(variable.value()).copy_(stream.normal(variable.shape(), 0, 0.4));
  }
}

}  // namespace attune::testing
