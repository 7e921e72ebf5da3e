#include "layers/summary.h"

#include <catch2/catch_test_macros.hpp>

#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/activation.h"
#include "layers/attention/multi_head.h"
#include "layers/conv.h"
#include "layers/dropout.h"
#include "layers/linear.h"
#include "layers/recurrent.h"
#include "layers/sequential.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace attune;
using namespace attune::testing;

namespace {

const SummaryRow& row(const ModuleSummary& all, const std::string& name) {
  for (const SummaryRow& each : all.rows) {
    if (each.name == name) return each;
  }
  FAIL("no row " << name);
  return all.rows[0];
}

struct Classifier : Module {
  Classifier() {
    features.add<Linear>(784, 128);
    features.add<Relu>();
    features.add<Dropout>(0.5);
  }
  Sequential& features = child<Sequential>("features");
  Linear& head = child<Linear>("head", 128, 10);

  Variable operator()(const Variable& x) const { return result(head(features(x))); }
};

}  // namespace

TEST_CASE("a summary is a table of modules, parameters, shapes and products", "[module][summary]") {
  Classifier model;
  model.features.eval();
  model.head.freeze();
  const ModuleSummary all = summary(model, Shape{32, 784});
  CHECK(all.parameters == 784 * 128 + 128 + 128 * 10 + 10);
  CHECK(all.trainable == 784 * 128 + 128);
  CHECK(all.parameter_bytes == 4 * all.parameters);
  CHECK(all.multiply_adds == 32 * (784 * 128 + 128 * 10));
  CHECK(all.activation_bytes == 4 * 32 * (128 + 128 + 10));
  CHECK(all.to_string() ==
        "layer                    output     parameters  multiply-adds\n"
        "Classifier               [32, 10]      101,770      3,252,224\n"
        "  features (Sequential)  [32, 128]     100,480      3,211,264\n"
        "    0 (Linear)           [32, 128]     100,480      3,211,264\n"
        "    1 (Relu)             [32, 128]           0              0\n"
        "    2 (Dropout)          [32, 128]           0              0\n"
        "  head (Linear)          [32, 10]        1,290         40,960\n"
        "parameters: 101,770, trainable: 100,480, 0.39 MiB\n"
        "forward pass: 3,252,224 multiply-adds, 0.03 MiB of results\n");
  // Modes and the tape are as before.
  CHECK(model.training());
  CHECK_FALSE(model.features.training());
  CHECK(Tape::current().size() == 0);
}

TEST_CASE("a summary without a forward pass has parameters alone", "[module][summary]") {
  Classifier model;
  const ModuleSummary all = summary(model);
  CHECK(all.rows.size() == 6);
  CHECK(all.parameters == 101770);
  CHECK(all.multiply_adds == 0);
  CHECK_FALSE(all.rows[0].output.has_value());
}

TEST_CASE("multiply-adds of every kind of product", "[module][summary]") {
  const auto count = [](auto& module, const Shape& shape) { return summary(module, shape).multiply_adds; };
  Conv2d picture(4, 6, {3, 2}, {.padding = {1, 0}, .groups = 2});
  CHECK(count(picture, {2, 5, 7, 4}) == 2 * 5 * 6 * 6 * (3 * 2 * 2));
  Conv1d line(4, 6, 3);
  CHECK(count(line, {2, 4, 9}) == 2 * 6 * 7 * (4 * 3));
  GRU gates(3, 5, {.bidirectional = true});
  CHECK(summary(gates, [&] {
          gates(Variable(Tensor::zeros({2, 7, 3})));
        }).multiply_adds == 2 * 7 * 2 * (15 * 3 + 15 * 5));
  MultiHeadAttention attention(8, 2);
  const Variable x(Tensor::zeros({2, 7, 8}));
  const ModuleSummary all = summary(attention, [&] { attention(x); });
  CHECK(all.multiply_adds == 2 * 7 * (4 * 8 * 8) + 2 * (2 * 7 * 7 * 8));
  // Products of two results belong to no module with parameters.
  CHECK(all.rows[0].multiply_adds == 2 * 7 * (4 * 8 * 8));
}

TEST_CASE("a summary of a part is of that part", "[module][summary]") {
  Classifier model;
  const ModuleSummary part = summary(model.features, Shape{1, 784});
  CHECK(part.rows.size() == 4);
  CHECK(part.rows[0].multiply_adds == 784 * 128);
  CHECK(row(part, "0").multiply_adds == 784 * 128);
  CHECK(*row(part, "2").output == Shape{1, 128});
  CHECK(row(part, "1").type == "Relu");
}

TEST_CASE("what the forward pass of a summary throws passes through, and modes are as before", "[module][summary]") {
  Classifier model;
  CHECK(error_text<ShapeError>([&] { summary(model, Shape{1, 783}); }).starts_with("features.0: input is [1, 783]"));
  CHECK(model.features.training());
  CHECK(grad_enabled());
}
