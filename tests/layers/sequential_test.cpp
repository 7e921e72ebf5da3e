#include "layers/sequential.h"

#include <catch2/catch_test_macros.hpp>

#include "autograd/ops/ops.h"
#include "framework/error.h"
#include "layers/activation.h"
#include "layers/dropout.h"
#include "layers/linear.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;

namespace {

std::vector<std::string> names(const Module& module) {
  std::vector<std::string> out;
  for (const auto& [name, variable] : module.named_parameters()) out.push_back(name);
  return out;
}

/// A module from outside the library.
struct Twice : Module {
  Variable operator()(const Variable& x) { return x * 2; }
};

struct Model : Module {
  Model() {
    layers.add<Linear>(3, 4);
    layers.add<Relu>();
    layers.add<Linear>(4, 2, LinearOptions{.bias = false});
  }
  Sequential& layers = child<Sequential>("layers");
};

}  // namespace

TEST_CASE("Sequential calls what it holds in order, under its number", "[layers][sequential]") {
  Sequential net(std::make_unique<Linear>(3, 4), std::make_unique<Twice>(), std::make_unique<Tanh>());
  const Linear& last = net.add<Linear>(4, 2, LinearOptions{.bias = false});
  CHECK(net.size() == 4);
  CHECK(names(net) == std::vector<std::string>{"0.weight", "0.bias", "3.weight"});
  const Variable x(random_tensor({5, 3}, DType::kFloat32));
  auto& first = static_cast<Linear&>(net[0]);
  CHECK(same_values(net(x).value(), last(tanh(first(x) * 2)).value()));
  CHECK(same_values(Sequential()(x).value(), x.value()));
  check_gradients(net, {random_tensor({5, 3})}, [&](auto in) { return net(in[0]); });
}

TEST_CASE("a Sequential filled after it was adopted has its model's names, modes and errors", "[layers][sequential]") {
  Model model;
  CHECK(names(model) == std::vector<std::string>{"layers.0.weight", "layers.0.bias", "layers.2.weight"});
  CHECK(model.layers[2].path() == "layers.2");
  CHECK(static_cast<Linear&>(model.layers[2]).weight().leaf()->name == "layers.2.weight");
  CHECK(error_text<ShapeError>([&] {
          model.layers(Variable(Tensor::zeros({5, 4})));
        }) == "layers.0: input is [5, 4], expected [..., 3]");
  StateDict state = clone(model.state_dict());
  model.load_state_dict(state);
}

TEST_CASE("a module of a Sequential is replaced, and takes over modes", "[layers][sequential]") {
  Model model;
  model.eval();
  model.set_precision(Precision::kBFloat16);
  model.layers.replace<Linear>(2, 4, 7);
  CHECK(names(model) ==
        std::vector<std::string>{"layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"});
  CHECK(model.layers(Variable(Tensor::zeros({5, 3}))).shape() == Shape{5, 7});
  CHECK_FALSE(model.layers[2].training());
  CHECK(model.layers[2].precision() == Precision::kBFloat16);
  CHECK(static_cast<Linear&>(model.layers[2]).bias().leaf()->name == "layers.2.bias");
  model.layers.replace<Dropout>(1, 0.5);
  CHECK(model.layers.size() == 3);
  model.train();
  const Variable x(random_tensor({5, 3}, DType::kFloat32));
  CHECK_FALSE(same_values(model.layers(x).value(), model.layers(x).value()));
}

TEST_CASE("Sequential refuses what is not there by name", "[layers][sequential][errors]") {
  Model model;
  CHECK(error_text<ValueError>([&] { model.layers[3]; }) == "layers: there is no module 3, only 3");
  CHECK(error_text<ValueError>([&] { model.layers.replace<Relu>(-1); }) == "layers: there is no module -1, only 3");
  CHECK_THROWS_AS(Sequential(std::unique_ptr<Relu>()), ValueError);
}
