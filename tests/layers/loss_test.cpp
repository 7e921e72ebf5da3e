#include "layers/loss.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;

namespace {
const Tensor kTargets = Tensor::from<int64_t>({2, 0, 3}, {3});
}

TEST_CASE("CrossEntropyLoss is the mean or sum of -log softmax", "[layers]") {
  const Tensor logits = random_tensor({3, 4});
  const std::vector<double> x = values(logits);
  double expected = 0;
  for (size_t row = 0; row < 3; ++row) {
    double total = 0;
    for (size_t i = 0; i < 4; ++i) total += std::exp(x[row * 4 + i]);
    expected += std::log(total) - x[row * 4 + static_cast<size_t>(kTargets.data<int64_t>()[row])];
  }
  CHECK(CrossEntropyLoss()(Variable(logits), kTargets).item() == Catch::Approx(expected / 3));
  CHECK(CrossEntropyLoss({.reduction = Reduction::kSum})(Variable(logits), kTargets).item() == Catch::Approx(expected));
  const double ignored = CrossEntropyLoss({.ignore_index = 0})(Variable(logits), kTargets).item();
  CHECK(ignored != Catch::Approx(expected / 3));
}

TEST_CASE("CrossEntropyLoss with a head is the loss of the head's logits, values and gradients", "[layers]") {
  for (const bool bias : {true, false}) {
    const CrossEntropyLoss loss({.label_smoothing = 0.1, .ignore_index = 3});
    Linear head(5, 4, {.bias = bias});
    randomise(head);
    head.to(DType::kFloat64);
    const Variable x(random_tensor({3, 5}), true);
    const Variable apart = loss(head(x), kTargets);
    apart.backward();
    const Tensor dx = x.grad().clone();
    const Tensor dw = head.weight().grad().clone();
    Variable again = x;
    again.zero_grad();
    head.zero_grad();
    const Variable fused = loss(x, head, kTargets);
    fused.backward();
    CHECK(fused.item() == Catch::Approx(apart.item()).epsilon(1e-12));
    CHECK(max_difference(x.grad(), dx) < 1e-12);
    CHECK(max_difference(head.weight().grad(), dw) < 1e-12);
    check_gradients(head, {x.value()}, [&](auto in) { return loss(in[0], head, kTargets); });
  }
}

TEST_CASE("CrossEntropyLoss refuses a head that is more than a product", "[layers][errors]") {
  const Variable x(Tensor::zeros({3, 5}));
  Linear relu_head(5, 4, {.activation = Activation::kRelu});
  CHECK(error_text<ValueError>([&] { CrossEntropyLoss()(x, relu_head, kTargets); }).find("expected a plain Linear") !=
        std::string::npos);
  CHECK_THROWS_AS(CrossEntropyLoss({.label_smoothing = 1.5}), ValueError);
  CHECK(error_text<ValueError>([] { CrossEntropyLoss({.label_smoothing = 1}); }) ==
        "CrossEntropyLoss: label smoothing is 1, expected 0 <= e < 1");
  for (const double wrong : {-0.1, static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    CHECK_THROWS_AS(CrossEntropyLoss({.label_smoothing = wrong}), ValueError);
    CHECK_THROWS_AS(CrossEntropyLoss({.r_drop = wrong}), ValueError);
  }
  CHECK_THROWS_AS(CrossEntropyLoss()(x, Tensor::from<int64_t>({0, 1, 7}, {3})), ValueError);
}
