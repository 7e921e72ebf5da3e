#include "layers/categorical.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>

#include "autograd/ops/ops.h"
#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;
using Catch::Approx;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Variable rows(const std::vector<double>& x, const Shape& shape) { return Variable(Tensor::from(x, shape)); }

}  // namespace

TEST_CASE("Categorical has log-probabilities and entropy of its formulas", "[layers][categorical]") {
  const Categorical uneven = Categorical::from_probabilities(rows({1, 2, 1, 0, 5, 0}, {2, 3}));
  const Variable log_p = uneven.log_prob(Tensor::from<int64_t>({1, 1}, {2}));
  CHECK(values(log_p.value())[0] == Approx(std::log(0.5)));
  CHECK(values(log_p.value())[1] == Approx(0).margin(1e-15));
  CHECK(values(uneven.entropy().value())[0] == Approx(1.5 * std::log(2)));
  CHECK(values(uneven.entropy().value())[1] == Approx(0).margin(1e-15));
  CHECK(values(uneven.log_prob(Tensor::from<int64_t>({0, 2}, {2})).value())[1] == -kInfinity);

  const Categorical two = Categorical::from_logits(rows({0, std::log(3), -kInfinity}, {3}));
  CHECK(two.log_prob(Tensor::from<int64_t>({1}, {})).item() == Approx(std::log(0.75)));
  CHECK(two.entropy().item() == Approx(-0.25 * std::log(0.25) - 0.75 * std::log(0.75)));
  CHECK(two.sample().shape() == Shape{});
}

TEST_CASE("Categorical draws with its probabilities, as the stream says", "[layers][categorical]") {
  constexpr int64_t kCount = 20000;
  const Categorical dice =
      Categorical::from_probabilities(Variable(Tensor::from<float>({2, 0, 5, 3}, {4}).expand({kCount, 4})));
  RandomStream a(3), b(3);
  const Tensor drawn = dice.sample(a);
  CHECK(drawn.shape() == Shape{kCount});
  CHECK(same_values(drawn, dice.sample(b)));
  CHECK_FALSE(same_values(drawn, dice.sample(b)));
  std::vector<double> share(4);
  for (const int64_t outcome : drawn.to_vector<int64_t>()) share[static_cast<size_t>(outcome)] += 1.0 / kCount;
  CHECK(share[0] == Approx(0.2).margin(0.015));
  CHECK(share[1] == 0);
  CHECK(share[2] == Approx(0.5).margin(0.015));
  CHECK(share[3] == Approx(0.3).margin(0.015));
}

TEST_CASE("Categorical is differentiable, also beside what cannot occur", "[layers][categorical][gradcheck]") {
  const Tensor outcomes = Tensor::from<int64_t>({1, 0}, {2});
  const auto both = [&](const Categorical& c) { return c.log_prob(outcomes) + c.entropy() * 0.3; };
  for (const bool logits : {true, false}) {
    const Tensor x = logits ? random_tensor({2, 4}) : RandomStream(2).uniform({2, 4}, 0.1, 1, DType::kFloat64);
    const GradcheckReport report = gradcheck(
        [&](std::span<const Variable> in) {
          return std::vector<Variable>{
              both(logits ? Categorical::from_logits(in[0]) : Categorical::from_probabilities(in[0]))};
        },
        {x});
    INFO(report.to_string());
    CHECK(report.ok);
  }
  const Variable masked(Tensor::from<double>({0.5, -kInfinity, 1, 2, 1, -kInfinity}, {2, 3}), true);
  sum(Categorical::from_logits(masked).entropy()).backward();
  for (const size_t i : {size_t{1}, size_t{5}}) CHECK(values(masked.grad())[i] == 0);
  for (const double v : values(masked.grad())) CHECK(std::isfinite(v));
  const Variable p(Tensor::from<double>({0.5, 0, 0.5}, {1, 3}), true);
  sum(Categorical::from_probabilities(p).entropy()).backward();
  for (const double v : values(p.grad())) CHECK(std::isfinite(v));
}

TEST_CASE("Categorical is of float32 where it is made of bfloat16", "[layers][categorical]") {
  const Variable x(random_tensor({2, 4}).to(DType::kBFloat16));
  CHECK(Categorical::from_logits(x).entropy().dtype() == DType::kFloat32);
}

TEST_CASE("Categorical refuses what is no distribution in one line", "[layers][categorical][errors]") {
  const auto logits_error = [](const std::vector<double>& x) {
    return error_text<ValueError>([&] { Categorical::from_logits(rows(x, {2, 2})); });
  };
  CHECK(logits_error({0, 1, NAN, 1}) ==
        "Categorical: nan is the largest logit of distribution 1 of 2, expected a finite one");
  CHECK(logits_error({0, NAN, 0, 1}).find("nan") != std::string::npos);
  CHECK(logits_error({0, 1, kInfinity, 1}).find("distribution 1") != std::string::npos);
  CHECK(logits_error({-kInfinity, -kInfinity, 0, 1}).find("distribution 0") != std::string::npos);
  const auto error = [](const std::vector<double>& x) {
    return error_text<ValueError>([&] { Categorical::from_probabilities(rows(x, {2, 2})); });
  };
  CHECK(error({0.5, 0.5, -0.1, 1.1}) ==
        "Categorical: distribution 1 of 2 has a probability of -0.1, expected 0 or more");
  CHECK(error({0.5, NAN, 1, 0}).find("distribution 0") != std::string::npos);
  CHECK(error({0.5, 0.5, 0, 0}) == "Categorical: probabilities of distribution 1 of 2 are all 0");
  CHECK(error_text<ShapeError>([] {
          Categorical::from_logits(Variable(Tensor::zeros({2, 0})));
        }).find("[2, 0]") != std::string::npos);
  CHECK_THROWS_AS(Categorical::from_logits(Variable()), ValueError);

  const Categorical two = Categorical::from_logits(rows({0, 1, 0, 1}, {2, 2}));
  CHECK(error_text<ValueError>([&] {
          two.log_prob(Tensor::from<int64_t>({0, 2}, {2}));
        }) == "Categorical::log_prob: outcome 2 at position 1 is outside 0 ... 1");
  CHECK_THROWS_AS(two.log_prob(Tensor::from<int64_t>({0}, {1})), ShapeError);
  CHECK_THROWS_AS(two.log_prob(Tensor::zeros({2})), DTypeError);
}
