// Recurrent layers that are composed of other ops: Rnn, and the GRU whose reset gate stands before the product.

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/recurrent.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;

namespace {

Variable parameter(const Module& module, const std::string& name) {
  for (const auto& [own, variable] : module.named_parameters()) {
    if (own == name) return variable;
  }
  FAIL("no parameter " << name);
  return {};
}

/// x W^T + b for the block of rows of one gate.
Variable gate(const Module& module, const std::string& kind, const std::string& suffix, const Variable& x,
              int64_t index, int64_t width) {
  const auto block = [&](const std::string& name) {
    return slice(parameter(module, name + kind + suffix), 0, index * width, (index + 1) * width);
  };
  return linear(x, block("weight_"), block("bias_"));
}

}  // namespace

TEST_CASE("Rnn and the GRU whose reset stands before the product compute their formulas", "[layers][recurrent]") {
  constexpr int64_t kBatch = 2, kSteps = 4, kInputs = 3, kWidth = 5;
  const Variable x(random_tensor({kBatch, kSteps, kInputs}));
  const Tensor first = random_tensor({4, kBatch, kWidth}, DType::kFloat64, 2);
  const RecurrentOptions options{.layers = 2, .bidirectional = true};
  Rnn bent(kInputs, kWidth, options);
  Rnn cut(kInputs, kWidth, options, Activation::kRelu);
  GRU before(kInputs, kWidth, options, {.reset_after = false});
  for (RecurrentLayers* module : {static_cast<RecurrentLayers*>(&bent), static_cast<RecurrentLayers*>(&cut),
                                  static_cast<RecurrentLayers*>(&before)}) {
    module->to(DType::kFloat64);
    const auto step = [&](const std::string& suffix, const Variable& in, const Variable& h) {
      const auto of_input = [&](int64_t i) { return gate(*module, "ih", suffix, in, i, kWidth); };
      const auto of_state = [&](int64_t i, const Variable& s) { return gate(*module, "hh", suffix, s, i, kWidth); };
      if (module == &bent) return tanh(of_input(0) + of_state(0, h));
      if (module == &cut) return relu(of_input(0) + of_state(0, h));
      const Variable r = sigmoid(of_input(0) + of_state(0, h));
      const Variable z = sigmoid(of_input(1) + of_state(1, h));
      const Variable fresh = tanh(of_input(2) + of_state(2, r * h));
      return fresh - z * fresh + z * h;
    };
    Variable in = x;
    std::vector<Variable> hidden;
    for (int64_t layer = 0; layer < 2; ++layer) {
      std::vector<Variable> outputs(kSteps);
      for (int64_t direction = 0; direction < 2; ++direction) {
        const std::string suffix = "_l" + std::to_string(layer) + (direction == 0 ? "" : "_reverse");
        Variable h(first.select(0, 2 * layer + direction));
        for (int64_t k = 0; k < kSteps; ++k) {
          const int64_t t = direction == 0 ? k : kSteps - 1 - k;
          h = step(suffix, select(in, 1, t), h);
          Variable& y = outputs[static_cast<size_t>(t)];
          y = direction == 0 ? h : concat({y, h}, 1);
        }
        hidden.push_back(h);
      }
      in = stack(outputs, 1);
    }
    const RecurrentResult result = module->run(x, {.hidden = Variable(first)});
    CHECK(max_difference(result.output.value(), in.value()) < 1e-14);
    CHECK(max_difference(result.hidden.value(), stack(hidden, 0).value()) < 1e-14);
    CHECK_FALSE(result.cell.defined());
  }
  Tape::current().clear();
}

TEST_CASE("a step of Rnn and of both GRUs, as PyTorch and Keras compute it", "[layers][recurrent]") {
  // One unit, one input: x = 0.5, h = -0.8; weights and biases by gate (reset, update, new).
  const auto set = [](Module& module, const char* name, const std::vector<float>& to) {
    const Tensor value = parameter(module, name).value();
    Tensor(value).copy_(Tensor::from(to, value.shape()));
  };
  const Variable x(Tensor::full({1, 1}, 0.5)), h(Tensor::full({1, 1}, -0.8));
  RnnCell plain(1, 1);
  for (const auto& [name, value] :
       {std::pair("weight_ih", 0.7f), {"weight_hh", -0.4f}, {"bias_ih", 0.1f}, {"bias_hh", -0.3f}}) {
    set(plain, name, {value});
  }
  CHECK(plain(x, h).item() == Catch::Approx(std::tanh(0.7 * 0.5 + 0.1 + 0.4 * 0.8 - 0.3)).epsilon(1e-6));
  const auto sigma = [](double v) { return 1 / (1 + std::exp(-v)); };
  const double r = sigma(0.3 * 0.5 + 0.1 + 0.6 * -0.8 - 0.2), z = sigma(-0.5 * 0.5 + 0.2 + 0.9 * -0.8 + 0.4);
  for (const bool after : {true, false}) {
    GRUCell cell(1, 1, true, {.reset_after = after});
    set(cell, "weight_ih", {0.3f, -0.5f, 0.8f});
    set(cell, "bias_ih", {0.1f, 0.2f, -0.1f});
    set(cell, "weight_hh", {0.6f, 0.9f, 1.2f});
    set(cell, "bias_hh", {-0.2f, 0.4f, 0.5f});
    const double product = after ? r * (1.2 * -0.8 + 0.5) : 1.2 * r * -0.8 + 0.5;
    const double fresh = std::tanh(0.8 * 0.5 - 0.1 + product);
    CHECK(cell(x, h).item() == Catch::Approx((1 - z) * fresh + z * -0.8).epsilon(1e-6));
  }
  Tape::current().clear();
}

TEST_CASE("Rnn refuses activations that it has not", "[layers][recurrent][errors]") {
  CHECK(error_text<ValueError>([] { Rnn(1, 2, {}, Activation::kGelu); }) ==
        "Rnn: activation 2 given, expected Activation::kTanh or kRelu");
  CHECK_THROWS_AS(RnnCell(1, 2, true, Activation::kNone), ValueError);
}
