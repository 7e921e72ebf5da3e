#include "layers/loss.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>

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

// Numbers by the formulas of PyTorch's documentation, in float64.
namespace {

Variable four() {
  return Variable(Tensor::from<double>({1, -2, 0.5, 0, 3, -1, -0.5, 0.25, 2, 1.5, 1, 0.75}, {4, 3}), true);
}
const Tensor kFour = Tensor::from<int64_t>({2, 0, -100, 1}, {4});
const Tensor kClassWeights = Tensor::from<double>({0.5, 2, 1.5}, {3});

void check(const Variable& y, const std::vector<double>& wanted) {
  const std::vector<double> found = values(y.value());
  REQUIRE(found.size() == wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) CHECK(found[i] == Catch::Approx(wanted[i]).epsilon(1e-9).margin(1e-12));
}

struct Kind {
  double smoothing;
  bool weighted;
  std::vector<double> losses;
  double mean;
};
const Kind kKinds[] = {
    {0, false, {1.0045969023, 3.0658839038, 0, 1.2318375668}, 1.7674394576},
    {0, true, {1.5068953535, 1.5329419519, 0, 2.4636751336}, 1.3758781097},
    {0.2, false, {1.1379302357, 2.9325505704, 0, 1.2151709001}, 1.7618839021},
    {0.2, true, {1.7900754568, 1.7439226025, 0, 2.307763458}, 1.4604403793},
};

}  // namespace

TEST_CASE("cross-entropy with weights of classes and in every reduction is PyTorch's", "[layers][loss]") {
  for (const auto& [smoothing, weighted, losses, mean] : kKinds) {
    const auto loss = [&](Reduction reduction) {
      return CrossEntropyLoss(
          {.label_smoothing = smoothing, .reduction = reduction, .class_weights = weighted ? kClassWeights : Tensor()})(
          four(), kFour);
    };
    check(loss(Reduction::kNone), losses);
    const double total = losses[0] + losses[1] + losses[3];
    check(loss(Reduction::kSum), {total});
    check(loss(Reduction::kBatchMean), {total / 4});
    check(loss(Reduction::kMean), {mean});
    const CrossEntropyLoss of_pairs({.label_smoothing = smoothing,
                                     .reduction = Reduction::kBatchMean,
                                     .class_weights = weighted ? kClassWeights : Tensor()});
    check(of_pairs(reshape(four(), {2, 2, 3}), kFour.view({2, 2})), {total / 2});
    if (smoothing > 0) continue;
    const auto nll = [&](Reduction reduction) {
      return NllLoss({.reduction = reduction, .class_weights = weighted ? kClassWeights : Tensor()})(
          log_softmax(four()), kFour);
    };
    check(nll(Reduction::kNone), losses);
    check(nll(Reduction::kMean), {mean});
    check(nll(Reduction::kBatchMean), {total / 4});
  }
}

TEST_CASE("a gradient of every loss is that of their weighted sum, whatever stands in rows without one",
          "[layers][loss]") {
  for (const Kind& kind : kKinds) {
    const CrossEntropyOptions options{.label_smoothing = kind.smoothing,
                                      .reduction = Reduction::kNone,
                                      .class_weights = kind.weighted ? kClassWeights : Tensor()};
    const Variable x = four();
    const Tensor factors = Tensor::from<double>({3, 0, 2, -1}, {4});
    cross_entropy(x, kFour, options).backward(factors);
    const Variable y = four();
    const Variable first = cross_entropy(slice(y, 0, 0, 1), kFour.slice(0, 0, 1), options) * 3.0;
    const Variable last = cross_entropy(slice(y, 0, 3, 4), kFour.slice(0, 3, 4), options);
    sum(first - last).backward();
    CHECK(max_difference(x.grad(), y.grad()) < 1e-14);

    const Variable dirty(x.value().clone(), true);
    Tensor(dirty.value()).slice(0, 1, 3).fill_(NAN);
    cross_entropy(dirty, kFour, options).backward(factors);
    CHECK(max_difference(dirty.grad(), x.grad()) < 1e-14);
    const Variable log_p(log_softmax(four()).value().clone(), true);
    Tensor(log_p.value()).slice(0, 2, 3).fill_(NAN);
    sum(nll_loss(log_p, kFour)).backward();
    CHECK(all_zero(log_p.grad().slice(0, 2, 3)));
  }
}

TEST_CASE("a head with weights of classes has the loss of its logits, in more than one block", "[layers][loss]") {
  constexpr int64_t kClasses = 9000;  // blocks of 233 rows
  RandomStream random(5);
  Linear head(2, kClasses);
  head.to(DType::kFloat64);
  const Tensor weights = random.uniform({kClasses}, 0, 2, DType::kFloat64);
  Tensor targets = Tensor::empty({500}, DType::kInt64);
  for (int64_t i = 0; i < 500; ++i) targets.data<int64_t>()[i] = i % 7 == 3 ? -100 : i * 17;
  const CrossEntropyLoss loss({.label_smoothing = 0.1, .class_weights = weights});
  const Variable x(random.normal({500, 2}, 0, 1, DType::kFloat64), true), same(x.value(), true);
  loss(x, head, targets).backward();
  const Tensor dweight = head.weight().grad().clone();
  head.zero_grad();
  const Variable apart = loss(head(same), targets);
  CHECK(loss(x, head, targets).item() == Catch::Approx(apart.item()).epsilon(1e-12));
  apart.backward();
  CHECK(max_difference(x.grad(), same.grad()) < 1e-14);
  CHECK(max_difference(dweight, head.weight().grad()) < 1e-14);
}

TEST_CASE("losses of every element are PyTorch's", "[layers][loss]") {
  const Tensor x = Tensor::from<double>({1, -2, 0.5, 0, 3, -1}, {2, 3});
  const Tensor target = Tensor::from<double>({0.2, 0.9, 0.5, 0.3, 0, 1}, {2, 3});
  const auto all = [&](const auto& make, const std::vector<double>& losses) {
    double total = 0;
    for (const double v : losses) total += v;
    check(make(Reduction::kNone), losses);
    check(make(Reduction::kSum), {total});
    check(make(Reduction::kMean), {total / 6});
    check(make(Reduction::kBatchMean), {total / 2});
  };
  const Variable a(x), b(target);
  all([&](Reduction r) { return MseLoss(r)(a, target); }, {0.64, 8.41, 0, 0.09, 9, 4});
  all([&](Reduction r) { return L1Loss(r)(a, b); }, {0.8, 2.9, 0, 0.3, 3, 2});
  all([&](Reduction r) { return HuberLoss({.delta = 1.5, .reduction = r})(a, target); },
      {0.32, 3.225, 0, 0.045, 3.375, 1.875});
  all([&](Reduction r) { return BceWithLogitsLoss({.reduction = r})(a, target); },
      {1.1132616875, 1.926928011, 0.72407698418, 0.69314718056, 3.0485873516, 1.3132616875});
  const Tensor weight = Tensor::from<float>({0.5, 2}, {2, 1}), pos_weight = Tensor::from<float>({3, 1, 2}, {3});
  all(
      [&](Reduction r) {
        return BceWithLogitsLoss({.reduction = r, .weight = weight, .pos_weight = pos_weight})(a, b);
      },
      {0.61928318126, 0.96346400552, 0.48055773814, 2.2180709778, 6.0971747031, 5.2530467501});
  const Tensor shares = Tensor::from<double>({0.2, 0.3, 0.5, 0, 0.25, 0.75}, {2, 3});
  all([&](Reduction r) { return KlDivLoss({.reduction = r})(log_softmax(a), shares); },
      {-0.22096820202, 0.6901872294, 0.15572486089, 0, -0.33010261434, 2.8336513735});
  all([&](Reduction r) { return KlDivLoss({.reduction = r, .log_target = true})(log_softmax(a), log_softmax(b)); },
      {-0.22199573402, 1.2604596961, -0.052187372854, 0.46421013885, -0.30723103796, 1.8465942578});
}

TEST_CASE("losses stay precise where logits are large or hardly matter", "[layers][loss]") {
  const auto bce = [](float x, float target) {
    return bce_with_logits(Variable(Tensor::full({1}, x)), Tensor::full({1}, target)).item();
  };
  CHECK(bce(-20, 0) == Catch::Approx(std::log1p(std::exp(-20.0))).epsilon(1e-6));
  CHECK(bce(20, 1) == Catch::Approx(std::log1p(std::exp(-20.0))).epsilon(1e-6));
  CHECK(bce(1e4f, 0) == 1e4);
  CHECK(bce(-1e4f, 1) == 1e4);
  CHECK(bce(1e4f, 1) == 0);
  for (const double offset : {1e4, -1e6}) {
    const Tensor logits = affine(Variable(four().value()), 1, offset).value().to(DType::kFloat32);
    const CrossEntropyOptions options{.label_smoothing = 0.2, .class_weights = kClassWeights};
    CHECK(cross_entropy(Variable(logits), kFour, options).item() ==
          Catch::Approx(cross_entropy(Variable(logits.to(DType::kFloat64)), kFour, options).item()).epsilon(1e-6));
  }
  // What cannot occur and is not meant to costs nothing.
  const Variable log_p(Tensor::from<double>({-std::numeric_limits<double>::infinity(), 0}, {1, 2}), true);
  const Variable loss = kl_div(log_p, Tensor::from<double>({0, 1}, {1, 2}), {.reduction = Reduction::kSum});
  CHECK(loss.item() == 0);
  loss.backward();
  CHECK(values(log_p.grad()) == std::vector<double>{0, -1});
}

TEST_CASE("losses are refused what cannot work where it is given", "[layers][loss][errors]") {
  CHECK(error_text<ValueError>([] { HuberLoss({.delta = 0}); }) == "HuberLoss: delta 0 given, expected more than 0");
  CHECK_THROWS_AS(CrossEntropyLoss({.reduction = Reduction::kNone, .r_drop = 1}), ValueError);
  CHECK_THROWS_AS(CrossEntropyLoss({.r_drop = 1, .class_weights = kClassWeights}), ValueError);
  CHECK_THROWS_AS(CrossEntropyLoss({.class_weights = Tensor::zeros({2, 2})}), ShapeError);
  CHECK(error_text<ShapeError>([] { CrossEntropyLoss({.class_weights = Tensor::zeros({4})})(four(), kFour); }) ==
        "cross_entropy: class_weights have shape [4], expected [3], one a class");
}
