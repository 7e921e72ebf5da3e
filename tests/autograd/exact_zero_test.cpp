// A row that nothing depends on contributes nothing to any gradient, even where it holds NaN: padded positions.
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <functional>
#include <limits>

#include "autograd/ops/ops.h"
#include "tests/support/tensors.h"

namespace attune {
namespace {

struct Gradients {
  Tensor x;
  std::vector<Tensor> parameters;
};

// Gradients of f(x, parameters) where the upstream gradient of row 1 is zero.
Gradients gradients(const std::function<Variable(const Variable&, std::span<const Variable>)>& f, const Tensor& input,
                    const std::vector<Tensor>& values) {
  const Variable x(input.clone(), true);
  std::vector<Variable> parameters;
  for (const Tensor& value : values) parameters.emplace_back(value.clone(), true);
  const Variable y = f(x, parameters);
  Tensor seed = testing::random_tensor(y.shape(), y.dtype(), 5);
  seed.select(0, 1).zero_();
  y.backward(seed);
  Gradients out{x.grad(), {}};
  for (const Variable& parameter : parameters) out.parameters.push_back(parameter.grad());
  return out;
}

}  // namespace

TEMPLATE_TEST_CASE("NaN in a row without upstream gradient stays there", "[autograd]", float, double) {
  constexpr DType kType = kDTypeOf<TestType>;
  const Tensor clean = testing::random_tensor({3, 20}, kType, 1);
  Tensor spoiled = clean.clone();
  spoiled.select(0, 1).fill_(std::numeric_limits<double>::quiet_NaN());
  const Tensor gain = testing::random_tensor({20}, kType, 2);
  const Tensor shift = testing::random_tensor({20}, kType, 3);
  const Tensor weight = testing::random_tensor({7, 20}, kType, 4);
  const Tensor bias = testing::random_tensor({7}, kType, 6);

  const auto check = [&](const char* name, const std::vector<Tensor>& parameters, auto&& f) {
    INFO(name);
    const Gradients wanted = gradients(f, clean, parameters);
    const Gradients got = gradients(f, spoiled, parameters);
    CHECK(testing::all_zero(got.x.select(0, 1)));
    CHECK(testing::same_values(got.x, wanted.x));
    for (size_t i = 0; i < parameters.size(); ++i) CHECK(testing::same_values(got.parameters[i], wanted.parameters[i]));
  };
  using P = std::span<const Variable>;
  check("layer_norm", {gain, shift}, [](const Variable& x, P p) { return layer_norm(x, p[0], p[1]); });
  check("rms_norm", {gain}, [](const Variable& x, P p) { return rms_norm(x, p[0]); });
  check("add_layer_norm", {gain, shift},
        [](const Variable& x, P p) { return add_layer_norm(x, x * 2, p[0], p[1], 1e-5).second; });
  for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kTanh}) {
    check("linear", {weight, bias}, [activation](const Variable& x, P p) { return linear(x, p[0], p[1], activation); });
  }
}

TEST_CASE("dropout inside fused ops is the dropout op, in float64 to the last digits", "[autograd]") {
  const Tensor x = testing::random_tensor({5, 70}, DType::kFloat64, 1);
  const Tensor branch = testing::random_tensor({5, 70}, DType::kFloat64, 2);
  const Tensor gain = Tensor::full({70}, 1, DType::kFloat64);
  RandomStream fused(9), apart(9);
  const Variable sum =
      add_layer_norm(Variable(x), Variable(branch), Variable(gain), Variable(gain), 1e-5, 0.3, fused).first;
  const Variable wanted = Variable(x) + dropout(Variable(branch), 0.3, apart);
  CHECK(testing::max_difference(sum.value(), wanted.value()) < 1e-15);
  CHECK(fused.state() == apart.state());
}

}  // namespace attune
