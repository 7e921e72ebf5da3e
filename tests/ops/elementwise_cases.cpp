#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "tests/ops/cases.h"

namespace attune::testing {
namespace {

using Vars = std::span<const Variable>;
using Unary = Variable (*)(const Variable&);
using Binary = Variable (*)(const Variable&, const Variable&);

}  // namespace

void add_elementwise_cases(std::vector<OpCase>& cases) {
  const auto row = [&](const char* op, std::string what, std::vector<Input> inputs, auto call) {
    cases.push_back({op, std::move(what), std::move(inputs), [call](Vars x) { return Outputs{call(x)}; }});
  };

  const auto binary = [&](const char* op, Binary f, double low, double high) {
    const std::pair<Shape, Shape> shapes[] = {
        {{2, 3}, {2, 3}},   {{3, 2, 5}, {5}}, {{4}, {3, 4}}, {{2, 1, 3}, {4, 1}}, {{}, {2, 3}},
        {{2, 3}, {}},       {{1, 1}, {1}},    {{0, 3}, {3}}, {{2, 0}, {2, 1}},    {{2, 3, 300}, {2, 1, 300}},
        {{2, 300}, {2, 1}},
    };
    for (const auto& [a, b] : shapes) {
      row(op, fmt::format("{} and {}", a, b), {{a, low, high}, {b, low, high}}, [f](Vars x) { return f(x[0], x[1]); });
    }
    row(op, "with itself", {{{2, 3}, low, high}}, [f](Vars x) { return f(x[0], x[0]); });
  };
  binary("add", add, -2, 2);
  binary("sub", sub, -2, 2);
  binary("mul", mul, -2, 2);
  binary("div", div, 0.5, 2);
  binary("maximum", maximum, -2, 2);
  binary("minimum", minimum, -2, 2);

  const Input x{{2, 3}};
  row("operator+", "two tensors", {x, x}, [](Vars v) { return v[0] + v[1]; });
  row("operator+", "a number", {x}, [](Vars v) { return v[0] + 3; });
  row("operator-", "two tensors", {x, x}, [](Vars v) { return v[0] - v[1]; });
  row("operator-", "a number", {x}, [](Vars v) { return v[0] - 3; });
  row("operator-", "sign", {x}, [](Vars v) { return -v[0]; });
  row("operator*", "two tensors", {x, x}, [](Vars v) { return v[0] * v[1]; });
  row("operator*", "a number behind", {x}, [](Vars v) { return v[0] * 3; });
  row("operator*", "a number in front", {x}, [](Vars v) { return 3 * v[0]; });
  row("operator/", "two tensors", {x, {{2, 3}, 0.5, 2}}, [](Vars v) { return v[0] / v[1]; });

  const auto unary = [&](const char* op, Unary f, double low, double high) {
    for (const Shape& shape : {Shape{}, Shape{7}, Shape{2, 1, 3}, Shape{0}, Shape{3, 0, 2}, Shape{5, 67}}) {
      row(op, fmt::format("{}", shape), {{shape, low, high}}, [f](Vars v) { return f(v[0]); });
    }
  };
  unary("exp", exp, -2, 2);
  unary("log", log, 0.5, 3);
  unary("sqrt", sqrt, 0.5, 3);
  unary("square", square, -2, 2);
  unary("reciprocal", reciprocal, 0.5, 2);
  unary("abs", abs, -2, 2);
  unary("sin", sin, -4, 4);
  unary("cos", cos, -4, 4);
  unary("tanh", tanh, -4, 4);
  unary("sigmoid", sigmoid, -6, 6);

  row("affine", "factor and offset", {x}, [](Vars v) { return affine(v[0], -1.5, 0.25); });
  row("affine", "factor 1", {x}, [](Vars v) { return affine(v[0], 1, 2); });
  row("affine", "empty", {{{0, 2}}}, [](Vars v) { return affine(v[0], 2, 1); });
  row("clamp", "both sides", {{{4, 5}}}, [](Vars v) { return clamp(v[0], -1, 0.51); });
  row("clamp", "empty", {{{0}}}, [](Vars v) { return clamp(v[0], -1, 1); });

  const Tensor mask = Tensor::from(std::vector<int64_t>{1, 0, 0, 1, 1, 0}, {2, 3}).to(DType::kBool);
  row("where", "equal shapes", {x, x}, [mask](Vars v) { return where(near(v, mask), v[0], v[1]); });
  row("where", "all broadcast", {{{4, 1, 1}}, {{3}}}, [mask](Vars v) { return where(near(v, mask), v[0], v[1]); });
  row("where", "transposed condition", {{{3, 2}}, {{}}},
      [mask](Vars v) { return where(near(v, mask).transpose(0, 1), v[0], v[1]); });
  row("where", "empty", {{{0, 3}}, {{1, 3}}},
      [mask](Vars v) { return where(near(v, mask).slice(0, 0, 1), v[0], v[1]); });

  cases.push_back({"cast",
                   "to float32 and back",
                   {x},
                   [](Vars v) { return Outputs{cast(cast(v[0], DType::kFloat32), v[0].dtype())}; },
                   /*numeric=*/false});
  row("parameter_for", "of the same dtype", {x, {{3}}}, [](Vars v) { return v[0] * parameter_for(v[0], v[1]); });
  row("to_device", "where it is", {x}, [](Vars v) { return to_device(v[0], v[0].device()) * 2; });
  row("to_device", "to the CPU", {x}, [](Vars v) { return to_device(v[0] * v[0], Device::cpu()); });
  row("cast", "to its own dtype", {x}, [](Vars v) { return cast(v[0], v[0].dtype()) * 2; });
}

}  // namespace attune::testing
