#include "autograd/gradcheck.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "framework/error.h"
#include "framework/random.h"
#include "tests/autograd/hand_ops.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using namespace testing;

Tensor random(const Shape& shape, uint64_t seed = 7) { return RandomStream(seed).normal(shape, 0, 1, DType::kFloat64); }

/// x * x with a derivative that can be spoiled.
Variable square_with(const Variable& x, double (*derivative)(double)) {
  return Tape::current().record(
      "square", map(x.value(), [](double v) { return v * v; }), {&x},
      [x = SavedTensor(x.value()), derivative](Grads& grads) {
        grads.add(0, map(grads.dy(), x.get(), [derivative](double g, double v) { return g * derivative(v); }));
      });
}

TEST_CASE("gradcheck accepts right gradients of several inputs", "[gradcheck]") {
  const auto f = [](std::span<const Variable> x) { return hand_sin(hand_mul(x[0], x[1])); };
  const GradcheckReport report = gradcheck(f, {random({3, 4}), random({3, 4}, 8)});
  INFO(report.to_string());
  CHECK(report.ok);
  REQUIRE(report.entries.size() == 2);
  CHECK(report.entries[0].checked == 12);
  CHECK(report.entries[1].shape == Shape{3, 4});
  CHECK(report.entries[0].max_absolute < 1e-10);
  CHECK(report.entries[0].numeric_error < 1e-8);
}

TEST_CASE("gradcheck takes several outputs, unused inputs and values of any size", "[gradcheck]") {
  const auto f = [](std::span<const Variable> x) {
    return std::vector<Variable>{hand_sin(x[0]), hand_sum(hand_mul(x[0], x[1])), hand_scale(x[1], 3)};
  };
  CHECK(gradcheck(f, {random({5}), random({5}, 8), random({2}, 9)}).ok);
  const auto cube = [](std::span<const Variable> x) { return hand_mul(x[0], hand_mul(x[0], x[0])); };
  for (const double scale : {1e-8, 1e-3, 1.0, 1e4, 1e8}) {
    const GradcheckReport report = gradcheck(cube, {map(random({6}), [scale](double v) { return v * scale; })});
    INFO(scale << '\n' << report.to_string());
    CHECK(report.ok);
  }
}

TEST_CASE("gradcheck finds wrong gradients and the worst element", "[gradcheck]") {
  const std::vector<Tensor> inputs{random({2, 3})};
  const auto check = [&](double (*derivative)(double)) {
    return gradcheck([=](std::span<const Variable> x) { return square_with(x[0], derivative); }, inputs);
  };
  CHECK(check([](double v) { return 2 * v; }).ok);
  CHECK_FALSE(check([](double v) { return -2 * v; }).ok);
  CHECK_FALSE(check([](double v) { return v; }).ok);
  CHECK_FALSE(check([](double v) { return 2 * v * 1.00001; }).ok);
  CHECK_FALSE(check([](double v) { return 2 * v + 1e-6; }).ok);
  CHECK_FALSE(check([](double) { return std::nan(""); }).ok);
  CHECK_FALSE(check([](double) { return 0.0; }).ok);

  // One wrong element: the smallest.
  const auto spoiled = [](std::span<const Variable> x) {
    return Tape::current().record("square", map(x[0].value(), [](double v) { return v * v; }), {&x[0]},
                                  [value = x[0].value()](Grads& grads) {
                                    Tensor dx = map(grads.dy(), value, [](double g, double v) { return 2 * g * v; });
                                    dx.data<double>()[4] += 0.5;
                                    grads.add(0, dx);
                                  });
  };
  const GradcheckReport report = gradcheck(spoiled, inputs);
  CHECK_FALSE(report.ok);
  const GradcheckEntry& entry = report.entries.at(0);
  CHECK_FALSE(entry.ok());
  CHECK(entry.failed == 1);
  CHECK(entry.worst_index == Shape{1, 1});
  CHECK(std::abs(std::abs(entry.analytic - entry.numeric) - 0.5) < 1e-9);
  CHECK_THAT(report.to_string(),
             ContainsSubstring("WRONG input 0 [2, 3]: 1 of 6 elements differ") && ContainsSubstring("worst at [1, 1]"));
}

TEST_CASE("gradcheck sees an error that cancels in a plain sum", "[gradcheck]") {
  // The gradient of reversing a vector, forgotten: a sum of the outputs would not notice.
  const auto f = [](std::span<const Variable> x) {
    Tensor y = Tensor::empty_like(x[0].value());
    for (int64_t i = 0; i < 4; ++i) y.data<double>()[i] = x[0].value().data<double>()[3 - i];
    return Tape::current().record("reverse", y, {&x[0]}, [](Grads& grads) { grads.add(0, grads.dy()); });
  };
  CHECK_FALSE(gradcheck(f, {random({4})}).ok);
}

TEST_CASE("gradcheck checks strided and expanded inputs as they are", "[gradcheck]") {
  const auto f = [](std::span<const Variable> x) { return hand_mul(x[0], x[1]); };
  CHECK(gradcheck(f, {random({4, 3}).transpose(0, 1), random({3, 1}, 8).expand({3, 4})}).ok);
  const auto raw = [](std::span<const Variable> x) {  // ignores strides
    Tensor y = Tensor::empty(x[0].shape(), DType::kFloat64);
    std::copy_n(x[0].value().data<double>(), y.numel(), y.data<double>());
    return Tape::current().record("raw", y, {&x[0]}, [](Grads& grads) { grads.add(0, grads.dy()); });
  };
  CHECK(gradcheck(raw, {random({4, 3})}).ok);
  CHECK_THROWS_MATCHES(gradcheck(raw, {random({4, 3}).transpose(0, 1)}), ValueError,
                       MessageMatches(ContainsSubstring("contiguous copies")));
}

TEST_CASE("gradcheck treats masked NaN and empty inputs", "[gradcheck]") {
  Tensor x = random({4});
  x.data<double>()[2] = std::nan("");
  const auto masked = [](std::span<const Variable> v) {
    return Tape::current().record(
        "finite", map(v[0].value(), [](double e) { return std::isfinite(e) ? e * e : 0; }), {&v[0]},
        [value = v[0].value()](Grads& grads) {
          grads.add(0, map(grads.dy(), value, [](double g, double e) { return std::isfinite(e) ? 2 * g * e : 0; }));
        });
  };
  CHECK(gradcheck(masked, {x}).ok);
  x.data<double>()[1] = HUGE_VAL;
  CHECK(gradcheck(masked, {x}).ok);
  CHECK(gradcheck([](std::span<const Variable> v) { return hand_sum(v[0]); }, {random({3, 0})}).ok);
  const auto beside_infinity = [](std::span<const Variable> v) {
    return std::vector<Variable>{hand_sin(v[0]), Variable(Tensor::full({2}, HUGE_VAL, DType::kFloat64))};
  };
  CHECK(gradcheck(beside_infinity, {random({4})}).ok);
}

TEST_CASE("gradcheck takes named leaves in place and restores them", "[gradcheck]") {
  const Variable a(random({3}), true);
  const Variable b(random({3}, 8), true);
  Variable frozen(random({3}, 9), true);
  frozen.set_requires_grad(false);
  const std::vector<double> before = a.value().to_vector<double>();
  const GradcheckReport report = gradcheck([&] { return hand_mul(hand_sin(a), hand_mul(b, frozen)); },
                                           {{"a", a}, {"b", b}, {"c", frozen}, {"d", a}});
  INFO(report.to_string());
  CHECK(report.ok);
  REQUIRE(report.entries.size() == 2);
  CHECK(report.entries[1].name == "b");
  CHECK(a.value().to_vector<double>() == before);
  CHECK_FALSE(a.grad().defined());
}

TEST_CASE("gradcheck can sample elements", "[gradcheck]") {
  const auto f = [](std::span<const Variable> x) { return hand_sin(x[0]); };
  CHECK(gradcheck(f, {random({100})}, {.max_elements = 9}).entries.at(0).checked == 9);
}

TEST_CASE("gradcheck refuses what it cannot check", "[gradcheck]") {
  const auto f = [](std::span<const Variable> x) { return hand_sin(x[0]); };
  CHECK_THROWS_MATCHES(gradcheck(f, {Tensor::zeros({2})}), DTypeError,
                       MessageMatches(ContainsSubstring("float32 [2]") && ContainsSubstring("expected float64")));
  CHECK_THROWS_AS(gradcheck(f, {}), ValueError);
  RandomStream stream(1);
  const auto noisy = [&](std::span<const Variable> x) { return hand_scale(x[0], stream.uniform()); };
  CHECK_THROWS_MATCHES(gradcheck(noisy, {random({2})}), ValueError,
                       MessageMatches(ContainsSubstring("restart its random stream")));
}

}  // namespace
}  // namespace attune
