// What the gradient checker says besides right and wrong, and how it looks.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <chrono>
#include <cmath>

#include "autograd/gradcheck.h"
#include "autograd/ops/ops.h"
#include "framework/error.h"
#include "framework/random.h"
#include "tests/autograd/hand_ops.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using namespace testing;

using Inputs = std::span<const Variable>;

Tensor random(const Shape& shape, uint64_t seed = 7) { return RandomStream(seed).normal(shape, 0, 1, DType::kFloat64); }

/// x^2 with `spoil` applied to its gradient.
template <class F>
Variable spoiled_square(const Variable& x, F spoil) {
  return Tape::current().record("square", map(x.value(), [](double v) { return v * v; }), {&x},
                                [value = x.value(), spoil](Grads& grads) {
                                  Tensor dx = map(grads.dy(), value, [](double g, double v) { return 2 * g * v; });
                                  spoil(dx);
                                  grads.add(0, dx);
                                });
}

GradcheckEntry only(const GradcheckReport& report) {
  REQUIRE(report.entries.size() == 1);
  return report.entries[0];
}

TEST_CASE("gradcheck says NOISE where the function is too rough for difference quotients", "[gradcheck]") {
  // As if something inside lost half of the digits.
  const auto rough = [](double factor) {
    return [factor](Inputs x) {
      return Tape::current().record(
          "rough", map(x[0].value(), [](double v) { return v + 1e-7 * std::sin(1e12 * v); }), {&x[0]},
          [factor](Grads& grads) { grads.add(0, map(grads.dy(), [factor](double g) { return factor * g; })); });
    };
  };
  const GradcheckEntry right = only(gradcheck(rough(1), {random({20})}));
  CHECK(right.verdict == GradientVerdict::kNoise);
  CHECK(right.failed == 0);
  CHECK(right.noisy > 0);
  CHECK(right.numeric_error > right.tolerance);
  CHECK(only(gradcheck(rough(30), {random({20})})).verdict == GradientVerdict::kWrong);  // noise does not cover this
}

TEST_CASE("gradcheck says KINK and names the op, before or behind others", "[gradcheck]") {
  Tensor x = random({2, 3});
  x.data<double>()[4] = 0;
  const GradcheckEntry entry = only(gradcheck([](Inputs v) { return sin(relu(v[0] * 3.0) * v[0] + relu(v[0])); }, {x}));
  CHECK(entry.verdict == GradientVerdict::kKink);
  CHECK(entry.kinks == 1);
  CHECK(entry.failed == 0);
  CHECK(entry.worst_index == Shape{1, 1});
  CHECK(entry.note == "relu at [1, 1] of [2, 3]");
  // The derivative at 0 is the mean of both sides': still no derivative.
  const GradcheckEntry even = only(gradcheck([](Inputs v) { return abs(v[0]); }, {x}));
  CHECK(even.verdict == GradientVerdict::kKink);
  CHECK(even.note == "abs at [1, 1] of [2, 3]");
  // Inside a fused op.
  const Variable weight(Tensor::full({1, 3}, 1, DType::kFloat64));
  const GradcheckEntry fused =
      only(gradcheck([&](Inputs v) { return linear(v[0], weight, Variable(), Activation::kRelu); },
                     {Tensor::zeros({1, 3}, DType::kFloat64)}));
  CHECK(fused.verdict == GradientVerdict::kKink);
  CHECK(fused.note == "linear at [0, 0] of [1, 1]");
  // A jump.
  const auto step = [](Inputs v) {
    return Tape::current().record("step", map(v[0].value(), [](double e) { return e > 0.0 ? 1.0 : 0.0; }), {&v[0]},
                                  [](Grads& grads) { grads.add(0, map(grads.dy(), [](double) { return 0.0; })); });
  };
  CHECK(only(gradcheck(step, {x})).verdict == GradientVerdict::kKink);
}

TEST_CASE("gradcheck is not deceived by kinks nearby, nor by strong curvature", "[gradcheck]") {
  Tensor x = random({4});
  for (const double near : {1e-3, 4e-4, 1e-5, -1e-5}) {
    x.data<double>()[2] = near;
    INFO(near);
    const GradcheckReport report = gradcheck([](Inputs v) { return relu(v[0]) + abs(v[0]); }, {x});
    INFO(report.to_string());
    CHECK(report.ok);
  }
  CHECK(gradcheck([](Inputs v) { return sqrt(v[0] * v[0] + 1e-4); }, {x}).ok);
  CHECK(gradcheck([](Inputs v) { return sin(v[0] * 300.0); }, {x}).ok);
}

TEST_CASE("gradcheck checks zeros to the bit", "[gradcheck]") {
  const Tensor where = Tensor::from<int64_t>({0, 1, 0, 0, 1, 1}, {2, 3}).to(DType::kBool);
  const GradcheckOptions options{.zeros = {{"masked", {}, {{"input 0", where}}}}, .axes = {{"input 0", "B T"}}};
  const Variable keep(map(where.to(DType::kFloat64), [](double v) { return 1 - v; }));
  const auto masked = [&](double leak) {
    return [&keep, &where, leak](Inputs x) {
      return spoiled_square(x[0], [](Tensor&) {}) * keep +
             Tape::current().record(
                 "leak", map(x[0].value(), [](double) { return 0.0; }), {&x[0]}, [&where, leak](Grads& grads) {
                   grads.add(0, map(where.to(DType::kFloat64), [leak](double v) { return v * leak; }));
                 });
    };
  };
  const GradcheckEntry clean = only(gradcheck(masked(0), {random({2, 3})}, options));
  CHECK(clean.ok());
  CHECK(clean.zeros == 3);
  const GradcheckEntry leaking = only(gradcheck(masked(1e-300), {random({2, 3})}, options));
  CHECK(leaking.verdict == GradientVerdict::kWrong);
  CHECK(leaking.failed == 3);
  CHECK(leaking.analytic == 1e-300);
  CHECK(leaking.worst == "B=0 T=1");
  CHECK(leaking.note == "must be exactly 0: masked");

  // Counted once, however many rules it breaks.
  GradcheckOptions twice = options;
  twice.zeros.push_back(options.zeros[0]);
  CHECK(only(gradcheck(masked(1), {random({2, 3})}, twice)).failed == 3);

  // Only some outputs count.
  GradcheckOptions first{.zeros = {{"later rows", {Tensor::from<int64_t>({1, 0}, {2, 1}).to(DType::kBool)}, {}}}};
  first.zeros[0].leaves.emplace_back("input 0", Tensor::from<int64_t>({0, 0, 0, 1, 1, 1}, {2, 3}).to(DType::kBool));
  CHECK(gradcheck([](Inputs x) { return sum(x[0], {1}, true); }, {random({2, 3})}, first).ok);
  const auto mixing = [](Inputs x) { return sum(x[0], {1}, true) + 1e-12 * sum(x[0]); };
  CHECK_FALSE(gradcheck(mixing, {random({2, 3})}, first).ok);

  GradcheckOptions unknown = options;
  unknown.zeros[0].leaves[0].first = "input 1";
  CHECK_THROWS_MATCHES(gradcheck(masked(0), {random({2, 3})}, unknown), ValueError,
                       MessageMatches(ContainsSubstring("input 1 must be 0 (masked)")));
  GradcheckOptions misshapen = options;
  misshapen.zeros[0].leaves[0].second = Tensor::full({2, 2}, 1, DType::kBool);
  CHECK_THROWS_AS(gradcheck(masked(0), {random({2, 3})}, misshapen), ShapeError);
}

TEST_CASE("gradcheck leaves gradients alone that are 0 by definition", "[gradcheck]") {
  const Tensor ids = Tensor::from<int64_t>({0, 2, 2}, {3});
  const Tensor padding = Tensor::from<int64_t>({1, 1, 0, 0, 0, 0}, {3, 2}).to(DType::kBool);
  const auto f = [&](Inputs x) { return embedding(x[0], ids, 0); };
  CHECK_FALSE(gradcheck(f, {random({3, 2})}).ok);
  for (const GradcheckMode mode : {GradcheckMode::kElements, GradcheckMode::kProjections}) {
    const GradcheckOptions options{.mode = mode, .zeros = {{"padding", {}, {{"input 0", padding}}, true}}};
    CHECK(gradcheck(f, {random({3, 2})}, options).ok);
    CHECK_FALSE(gradcheck([&](Inputs x) { return embedding(x[0], ids); }, {random({3, 2})}, options).ok);
  }
}

TEST_CASE("gradcheck by projections takes few evaluations and finds what is wrong", "[gradcheck]") {
  const GradcheckOptions options{.mode = GradcheckMode::kProjections};
  int evaluations = 0;
  const auto right = [&](Inputs x) {
    ++evaluations;
    return spoiled_square(x[0], [](Tensor&) {});
  };
  const GradcheckEntry good = only(gradcheck(right, {random({50, 40})}, options));
  CHECK(good.ok());
  CHECK(good.checked == 2000);
  CHECK(good.relative_difference < 1e-9);
  CHECK(evaluations < 100);
  const auto wrong = [](Inputs x) { return spoiled_square(x[0], [](Tensor& dx) { dx.data<double>()[123] += 0.01; }); };
  const GradcheckEntry bad = only(gradcheck(wrong, {random({20, 10})}, options));
  CHECK(bad.failed == 1);
  CHECK(bad.worst_index == Shape{12, 3});
}

TEST_CASE("gradcheck keeps to its time and looks at every input", "[gradcheck]") {
  const auto f = [](Inputs x) { return std::vector<Variable>{sin(x[0]), sin(x[1])}; };
  const auto start = std::chrono::steady_clock::now();
  const GradcheckReport report = gradcheck(f, {random({400, 300}), random({5})}, {.seconds = 0.2});
  CHECK(report.ok);
  CHECK(report.entries[0].checked >= 1);
  CHECK(report.entries[0].checked < 120000);
  CHECK(report.entries[1].checked >= 1);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  CHECK_THROWS_AS(gradcheck(f, {random({2}), random({2})}, {.seconds = -1}), ValueError);
}

TEST_CASE("gradcheck measures how far and in which direction a gradient is off", "[gradcheck]") {
  const auto times = [](double factor) {
    return [factor](Inputs x) {
      return spoiled_square(x[0], [factor](Tensor& dx) { dx = map(dx, [factor](double v) { return factor * v; }); });
    };
  };
  const GradcheckEntry doubled = only(gradcheck(times(2), {random({3, 4})}));
  CHECK(std::abs(doubled.relative_difference - 1) < 1e-6);
  CHECK(std::abs(doubled.cosine - 1) < 1e-6);
  CHECK(std::abs(doubled.max_relative - 0.5) < 1e-6);
  CHECK(doubled.distances.size() == 12);
  CHECK(doubled.distances[0] > 1);
  const GradcheckEntry turned = only(gradcheck(times(-1), {random({3, 4})}));
  CHECK(std::abs(turned.cosine + 1) < 1e-6);
  const GradcheckEntry none = only(gradcheck(times(0), {random({3, 4})}));
  CHECK(none.cosine == 0);
  const GradcheckEntry constant = only(gradcheck([](Inputs x) { return x[0] * 0.0; }, {random({3})}));
  CHECK(constant.cosine == 1);
  CHECK(constant.relative_difference == 0);
}

}  // namespace
}  // namespace attune
