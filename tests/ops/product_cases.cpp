#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "tests/ops/cases.h"

namespace attune::testing {
namespace {

using Vars = std::span<const Variable>;

Tensor integers(const std::vector<int64_t>& values, const Shape& shape) { return Tensor::from(values, shape); }

Outputs both(std::pair<Variable, Variable> pair) { return {std::move(pair.first), std::move(pair.second)}; }

}  // namespace

void add_product_cases(std::vector<OpCase>& cases) {
  const auto row = [&](const char* op, std::string what, std::vector<Input> inputs, auto call) {
    cases.push_back({op, std::move(what), std::move(inputs), [call](Vars x) { return Outputs{call(x)}; }});
  };
  const auto pair_row = [&](const char* op, std::string what, std::vector<Input> inputs, auto call) {
    cases.push_back({op, std::move(what), std::move(inputs), [call](Vars x) { return both(call(x)); }});
  };

  // Products.
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      const Shape a = ta ? Shape{3, 2} : Shape{2, 3};
      const Shape b = tb ? Shape{4, 3} : Shape{3, 4};
      row("matmul", fmt::format("{} x {}{}{}", a, b, ta ? ", a transposed" : "", tb ? ", b transposed" : ""),
          {{a}, {b}}, [=](Vars v) { return matmul(v[0], v[1], ta, tb); });
    }
  }
  row("matmul", "batch broadcast", {{{2, 1, 3, 4}}, {{3, 4, 2}}}, [](Vars v) { return matmul(v[0], v[1]); });
  row("matmul", "batch against one", {{{2, 3, 4}}, {{5, 4}}}, [](Vars v) { return matmul(v[0], v[1], false, true); });
  row("matmul", "extents of 1", {{{1, 1}}, {{1, 1}}}, [](Vars v) { return matmul(v[0], v[1]); });
  row("matmul", "no rows", {{{0, 3}}, {{3, 2}}}, [](Vars v) { return matmul(v[0], v[1]); });
  row("matmul", "nothing to sum", {{{2, 0}}, {{0, 3}}}, [](Vars v) { return matmul(v[0], v[1]); });
  row("matmul", "empty batch", {{{0, 2, 3}}, {{3, 2}}}, [](Vars v) { return matmul(v[0], v[1]); });
  row("matmul", "exact zeros", {{{2, 3}}, {{3, 4}}}, [](Vars v) { return matmul(v[0], v[1], false, false, true); });
  row("matmul", "with itself", {{{3, 3}}}, [](Vars v) { return matmul(v[0], v[0], false, true); });

  const std::pair<Activation, const char*> activations[] = {
      {Activation::kNone, "no activation"}, {Activation::kRelu, "relu"}, {Activation::kGelu, "gelu"},
      {Activation::kGeluTanh, "gelu_tanh"}, {Activation::kSilu, "silu"}, {Activation::kTanh, "tanh"},
      {Activation::kSigmoid, "sigmoid"},
  };
  for (const auto& [activation, name] : activations) {
    const Activation f = activation;
    row("linear", name, {{{2, 3, 4}}, {{5, 4}}, {{5}}}, [f](Vars v) { return linear(v[0], v[1], v[2], f); });
    row("linear", fmt::format("{}, dropout", name), {{{6, 4}}, {{19, 4}}, {{19}}}, [f](Vars v) {
      RandomStream stream(3);
      return linear(v[0], v[1], v[2], f, 0.3, stream);
    });
  }
  row("linear", "no bias", {{{2, 3}}, {{4, 3}}}, [](Vars v) { return linear(v[0], v[1], {}); });
  row("linear", "one axis", {{{3}}, {{2, 3}}, {{2}}}, [](Vars v) { return linear(v[0], v[1], v[2]); });
  row("linear", "no rows", {{{0, 3}}, {{2, 3}}, {{2}}}, [](Vars v) { return linear(v[0], v[1], v[2]); });
  row("linear", "nothing to sum", {{{2, 0}}, {{3, 0}}, {{3}}}, [](Vars v) { return linear(v[0], v[1], v[2]); });

  // Normalisation.
  row("layer_norm", "gain and shift", {{{2, 3, 5}}, {{5}}, {{5}}}, [](Vars v) { return layer_norm(v[0], v[1], v[2]); });
  row("layer_norm", "no shift, wide", {{{3, 70}}, {{70}}}, [](Vars v) { return layer_norm(v[0], v[1], {}, 1e-3); });
  row("layer_norm", "one element", {{{3, 1}}, {{1}}, {{1}}}, [](Vars v) { return layer_norm(v[0], v[1], v[2]); });
  row("layer_norm", "no rows", {{{0, 4}}, {{4}}, {{4}}}, [](Vars v) { return layer_norm(v[0], v[1], v[2]); });
  row("rms_norm", "three axes", {{{2, 3, 5}}, {{5}}}, [](Vars v) { return rms_norm(v[0], v[1]); });
  row("rms_norm", "wide", {{{3, 70}}, {{70}}}, [](Vars v) { return rms_norm(v[0], v[1], 1e-3); });
  row("rms_norm", "no rows", {{{0, 4}}, {{4}}}, [](Vars v) { return rms_norm(v[0], v[1]); });
  pair_row("add_layer_norm", "no dropout", {{{2, 3, 5}}, {{2, 3, 5}}, {{5}}, {{5}}},
           [](Vars v) { return add_layer_norm(v[0], v[1], v[2], v[3]); });
  pair_row("add_layer_norm", "dropout, no shift", {{{3, 70}}, {{3, 70}}, {{70}}}, [](Vars v) {
    RandomStream stream(4);
    return add_layer_norm(v[0], v[1], v[2], {}, 1e-5, 0.4, stream);
  });
  row("add_layer_norm", "only the norm is used", {{{2, 5}}, {{2, 5}}, {{5}}, {{5}}},
      [](Vars v) { return add_layer_norm(v[0], v[1], v[2], v[3]).second; });
  row("add_layer_norm", "only the sum is used", {{{2, 5}}, {{2, 5}}, {{5}}, {{5}}},
      [](Vars v) { return add_layer_norm(v[0], v[1], v[2], v[3]).first; });
  pair_row("add_layer_norm", "no rows", {{{0, 4}}, {{0, 4}}, {{4}}, {{4}}},
           [](Vars v) { return add_layer_norm(v[0], v[1], v[2], v[3]); });

  // Softmax.
  for (const Shape& shape : {Shape{2, 3, 5}, Shape{7}, Shape{3, 1}, Shape{2, 70}, Shape{0, 4}, Shape{2, 0}}) {
    row("softmax", fmt::format("{}", shape), {{shape}}, [](Vars v) { return softmax(v[0]); });
    row("log_softmax", fmt::format("{}", shape), {{shape}}, [](Vars v) { return log_softmax(v[0]); });
  }
  const Tensor keep = integers({1, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1}, {3, 4}).to(DType::kBool);
  row("masked_softmax", "a row without any", {{{3, 4}}}, [=](Vars v) { return masked_softmax(v[0], near(v, keep)); });
  row("masked_softmax", "mask broadcast", {{{2, 3, 4}}}, [=](Vars v) { return masked_softmax(v[0], near(v, keep)); });
  row("masked_softmax", "mask for a row", {{{2, 4}}},
      [=](Vars v) { return masked_softmax(v[0], near(v, keep.select(0, 0))); });
  row("masked_softmax", "no rows", {{{0, 4}}},
      [=](Vars v) { return masked_softmax(v[0], near(v, keep.slice(0, 0, 1))); });
}

}  // namespace attune::testing
