#include "layers/linear.h"

#include <catch2/catch_test_macros.hpp>

#include "framework/error.h"
#include "layers/feed_forward.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;

TEST_CASE("Linear is x W^T + b for any leading axes", "[layers]") {
  Linear layer(3, 2);
  CHECK(layer.parameter_count() == 8);
  Tensor(layer.weight().value()).copy_(Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3}));
  Tensor(layer.bias().value()).copy_(Tensor::from<float>({10, 20}, {2}));
  const Variable x(Tensor::from<float>({1, 0, 0, 0, 1, 1}, {1, 2, 3}));
  const Variable y = layer(x);
  CHECK(y.shape() == Shape{1, 2, 2});
  CHECK(values(y.value()) == std::vector<double>{11, 24, 15, 31});
  CHECK(layer(Variable(Tensor::zeros({3}))).shape() == Shape{2});
  CHECK(layer(Variable(Tensor::zeros({0, 3}))).shape() == Shape{0, 2});

  Linear plain(3, 2, {.bias = false});
  CHECK_FALSE(plain.bias().defined());
  CHECK(plain.parameter_count() == 6);
}

TEST_CASE("Linear and FeedForward have right gradients with every activation", "[layers][gradcheck]") {
  for (Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kGeluTanh,
                                Activation::kSilu, Activation::kTanh, Activation::kSigmoid}) {
    INFO(static_cast<int>(activation));
    Linear layer(4, 3, {.activation = activation});
    randomise(layer);
    check_gradients(layer, {random_tensor({2, 3, 4})}, [&](auto in) { return layer(in[0]); });
    FeedForward network(4, 5, {.activation = activation});
    randomise(network);
    check_gradients(network, {random_tensor({2, 3, 4})}, [&](auto in) { return network(in[0]); });
  }
}

TEST_CASE("FeedForward is two linears with an activation between", "[layers]") {
  FeedForward network(4, 5, {.activation = Activation::kGelu, .bias = false});
  CHECK(network.parameter_count() == 40);
  const StateDict state = network.state_dict();
  REQUIRE(state.size() == 2);
  CHECK(state[0].first == "linear1.weight");
  const Variable x(random_tensor({2, 4}, DType::kFloat32));
  const Variable hidden = gelu(matmul(x, Variable(state[0].second), false, true));
  const Variable y = matmul(hidden, Variable(state[1].second), false, true);
  CHECK(max_difference(network(x).value(), y.value()) < 1e-6);
}

TEST_CASE("dropout of Linear and FeedForward is for training only", "[layers]") {
  Linear layer(4, 50, {.activation = Activation::kRelu, .dropout = 0.5});
  FeedForward network(4, 50, {.dropout = 0.5});
  const Variable x(random_tensor({6, 4}, DType::kFloat32));
  CHECK_FALSE(same_values(layer(x).value(), layer(x).value()));
  CHECK_FALSE(same_values(network(x).value(), network(x).value()));
  layer.eval();
  network.eval();
  const RandomState before = default_stream().state();
  CHECK(same_values(layer(x).value(), layer(x).value()));
  CHECK(same_values(network(x).value(), network(x).value()));
  CHECK(default_stream().state() == before);
}

TEST_CASE("Linear names itself and both widths in errors", "[layers][errors]") {
  struct Model : Module {
    Linear& head = child<Linear>("head", 3, 2);
  } model;
  CHECK(error_text<ShapeError>([&] {
          model.head(Variable(Tensor::zeros({5, 4})));
        }) == "head: input is [5, 4], expected [..., 3]");
  CHECK(error_text<ShapeError>([&] { model.head(Variable(Tensor::zeros({}))); }) ==
        "head: input is [], expected [..., 3]");
  CHECK_THROWS_AS(Linear(0, 2), ValueError);
  CHECK_THROWS_AS(Linear(2, 2, {.dropout = 1}), ValueError);
  CHECK_THROWS_AS(Linear(2, 2, {.dropout = -0.1}), ValueError);
}
