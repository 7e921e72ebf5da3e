// What a float32 parameter is rounded to beside bfloat16 is one tensor for all ops, rounded again when the parameter
// changes: what backward kept of it is version-checked like any operand.

#include <catch2/catch_test_macros.hpp>

#include <functional>

#include "autograd/ops/attention.h"
#include "autograd/ops/batch_norm.h"
#include "autograd/ops/conv.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "tests/support/tensors.h"

namespace attune::testing {
namespace {

struct Row {
  const char* op;
  Shape x, parameter;
  std::function<Variable(const Variable& x, const Variable& parameter)> call;
};

std::vector<Row> rows() {
  const Variable shift(Tensor::zeros({4}));
  return {
      {"linear", {3, 4}, {5, 4}, [](const Variable& x, const Variable& p) { return linear(x, p, {}); }},
      {"layer_norm", {3, 4}, {4}, [](const Variable& x, const Variable& p) { return layer_norm(x, p, {}); }},
      {"rms_norm", {3, 4}, {4}, [](const Variable& x, const Variable& p) { return rms_norm(x, p); }},
      {"add_layer_norm",
       {3, 4},
       {4},
       [](const Variable& x, const Variable& p) { return add_layer_norm(x, x, p, {}).second; }},
      {"batch_norm",
       {3, 4},
       {4},
       [shift](const Variable& x, const Variable& p) { return batch_norm(x, p, shift).output; }},
      {"conv2d", {1, 3, 3, 4}, {2, 4, 2, 2}, [](const Variable& x, const Variable& p) { return conv2d(x, p, {}); }},
      {"additive_scores",
       {1, 1, 3, 4},
       {1, 4},
       [](const Variable& x, const Variable& p) { return additive_scores(x, x, p); }},
      {"matmul", {3, 4}, {4, 2}, [](const Variable& x, const Variable& p) { return matmul(x, parameter_for(x, p)); }},
  };
}

TEST_CASE("a parameter that is rounded again between forward and backward is an error, or changes no gradient",
          "[ops][bfloat16]") {
  for (const Row& row : rows()) {
    const auto gradient = [&](bool changes, std::string& error) {
      const Variable x(random_tensor(row.x, DType::kBFloat16, 1), true);
      const Variable parameter(random_tensor(row.parameter, DType::kFloat32, 2), true);
      const Variable y = row.call(x, parameter);
      if (changes) {
        Tensor(parameter.value()).fill_(3);
        const NoGrad values_only;
        row.call(x, parameter);
      }
      try {
        y.backward(random_tensor(y.shape(), DType::kBFloat16, 3));
      } catch (const ValueError& thrown) {
        error = thrown.what();
      }
      return x.grad();
    };
    std::string none, error;
    const Tensor expected = gradient(false, none);
    const Tensor found = gradient(true, error);
    INFO(row.op << ": " << error);
    CHECK(none.empty());
    CHECK((error.empty() ? same_values(found, expected) : error.find("changed in place") != std::string::npos));
  }
}

}  // namespace
}  // namespace attune::testing
