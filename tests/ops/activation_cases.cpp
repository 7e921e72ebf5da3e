#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "tests/ops/cases.h"

namespace attune::testing {
namespace {

using Vars = std::span<const Variable>;
using Activate = std::function<Variable(const Variable&)>;

constexpr std::pair<const char*, Variable (*)(const Variable&)> kPlain[] = {
    {"softplus", softplus},
    {"log_sigmoid", log_sigmoid},
    {"relu", relu},
    {"silu", silu},
    {"gelu", gelu},
    {"gelu_tanh", gelu_tanh},
    {"selu", selu},
    {"mish", mish},
    {"hard_sigmoid", hard_sigmoid},
    {"hard_swish", hard_swish},
    {"softsign", softsign},
};

}  // namespace

void add_activation_cases(std::vector<OpCase>& cases) {
  const auto row = [&](const char* op, const std::string& what, const Activate& f) {
    for (const Shape& shape : {Shape{}, Shape{7}, Shape{2, 1, 3}, Shape{0}, Shape{3, 0, 2}, Shape{5, 67}}) {
      // The bends at 0 and +- 3 lie between two of the values.
      cases.push_back(
          {op, fmt::format("{}{}", what, shape), {{shape, -5.9, 6}}, [f](Vars v) { return Outputs{f(v[0])}; }});
    }
  };
  for (const auto& [op, f] : kPlain) row(op, "", f);
  for (const double number : {0.7, 1.0}) {
    const std::string what = fmt::format("{}, ", number);
    row("elu", what, [number](const Variable& x) { return elu(x, number); });
    row("celu", what, [number](const Variable& x) { return celu(x, number); });
    row("leaky_relu", what, [number](const Variable& x) { return leaky_relu(x, number); });
    row("leaky_relu", "-" + what, [number](const Variable& x) { return leaky_relu(x, -number); });
    row("swish", what, [number](const Variable& x) { return swish(x, number); });
  }
  row("elu", "0, ", [](const Variable& x) { return elu(x, 0); });
  for (const Shape& slopes : {Shape{3}, Shape{1}}) {
    for (const Shape& x : {Shape{2, 3}, Shape{3}, Shape{0, 3}}) {
      cases.push_back({"prelu", fmt::format("{} and {}", x, slopes), {{x}, {slopes}}, [](Vars v) {
                         return Outputs{prelu(v[0], v[1])};
                       }});
    }
  }
  cases.push_back({"prelu", "one number", {{{}}, {{1}}}, [](Vars v) { return Outputs{prelu(v[0], v[1])}; }});
}

void add_activation_errors(std::vector<OpError>& errors) {
  const Variable a(Tensor::zeros({2, 3}));
  const Variable tokens(Tensor::zeros({2, 3}, DType::kInt64));
  const auto row = [&](const char* op, std::function<void()> call, std::vector<std::string> says) {
    errors.push_back({op, std::move(call), std::move(says)});
  };
  for (const auto& [op, function] : kPlain) {
    const auto f = function;
    row(op, [=] { f({}); }, {"x is undefined"});
    row(op, [=] { f(tokens); }, {"int64 [2, 3]", "floating"});
  }
  row("elu", [=] { elu(a, -1); }, {"alpha -1"});
  row("elu", [=] { elu({}); }, {"x is undefined"});
  row("celu", [=] { celu(a, 0); }, {"alpha 0"});
  row("leaky_relu", [=] { leaky_relu(tokens); }, {"int64"});
  row("swish", [=] { swish({}, 1); }, {"undefined"});
  row("prelu", [=] { prelu(a, Variable(Tensor::zeros({2}))); }, {"[2]", "[2, 3]"});
  row("prelu", [=] { prelu(a, Variable(Tensor::zeros({1, 3}))); }, {"[1, 3]", "[2, 3]"});
  row("prelu", [=] { prelu(a, Variable(Tensor::zeros({3}, DType::kFloat64))); }, {"float32", "float64"});
}

}  // namespace attune::testing
