// Float64 judges other dtypes.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

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
using Function = std::function<Variable(Inputs)>;

/// f for values of `dtype` and for the same ones in float64.
GradcheckReport judge(const Function& f, const std::vector<Shape>& shapes, DType dtype,
                      const GradcheckOptions& options = {}, double scale = 1) {
  std::vector<Variable> narrow, wide;
  GradcheckSubject subject, reference;
  RandomStream random(3);
  for (const Shape& shape : shapes) {
    narrow.emplace_back(random.normal(shape, 0, scale, DType::kFloat64).to(dtype), true);
    wide.emplace_back(narrow.back().value().to(DType::kFloat64), true);
    const std::string name = "x" + std::to_string(narrow.size());
    subject.leaves.emplace_back(name, narrow.back());
    reference.leaves.emplace_back(name, wide.back());
  }
  subject.f = [&] { return std::vector<Variable>{f(narrow)}; };
  reference.f = [&] { return std::vector<Variable>{f(wide)}; };
  return gradcheck_against_float64(reference, subject, options);
}

Variable products(Inputs x) { return tanh(matmul(x[0], x[1])) * 0.5; }

/// Multiplies the gradient of x by `factor`.
Variable spoiled(const Variable& x, double factor) {
  return Tape::current().record("spoiled", x.value().clone(), {&x}, [factor](Grads& grads) {
    grads.add(0, map(grads.dy(), [factor](double v) { return factor * v; }));
  });
}

TEST_CASE("float32 gradients agree with float64 within a bound that grows with the sums", "[gradcheck]") {
  double before = 0;
  for (const int64_t length : {4, 64, 1024}) {
    const GradcheckReport report = judge(products, {{6, length}, {length, 5}}, DType::kFloat32, {}, 0.1);
    INFO(report.to_string());
    CHECK(report.ok);
    const double relative = report.entries[0].tolerance / std::abs(report.entries[0].numeric);
    CHECK(report.entries[0].tolerance > 0);
    CHECK(relative > before / 100);
    before = relative;
  }
}

TEST_CASE("float64 finds what is wrong in float32", "[gradcheck]") {
  for (const double factor : {1.001, 0.0, -1.0}) {
    const auto wrong = [factor](Inputs x) {
      return x[0].dtype() == DType::kFloat32 ? products(std::vector<Variable>{spoiled(x[0], factor), x[1]})
                                             : products(x);
    };
    const GradcheckReport report = judge(wrong, {{6, 8}, {8, 5}}, DType::kFloat32);
    INFO(report.to_string());
    CHECK(report.entries[0].verdict == GradientVerdict::kWrong);
    CHECK(report.entries[1].ok());
  }
}

TEST_CASE("where rounding crosses a kink, float64 does not call float32 wrong", "[gradcheck]") {
  // In float32 the sum with 1e8 is exactly 0 now and then, in float64 never.
  const auto f = [](Inputs x) { return relu((x[0] + 1e8) - 1e8); };
  const GradcheckReport report = judge(f, {{40}}, DType::kFloat32, {}, 1e-9);
  INFO(report.to_string());
  CHECK(report.entries[0].failed == 0);
}

TEST_CASE("zeros are exact in float32 too", "[gradcheck]") {
  const GradcheckOptions options{
      .zeros = {{"second row", {}, {{"x1", Tensor::from<int64_t>({0, 1}, {2, 1}).to(DType::kBool)}}}}};
  const auto first_row = [](Inputs x) { return slice(x[0], 0, 0, 1); };
  CHECK(judge(first_row, {{2, 1}}, DType::kFloat32, options).entries[0].zeros == 1);
  CHECK_FALSE(judge([](Inputs x) { return x[0] * 1.0; }, {{2, 1}}, DType::kFloat32, options).ok);
}

TEST_CASE("float64 judges only what belongs together", "[gradcheck]") {
  const Variable a(Tensor::zeros({2}, DType::kFloat64), true);
  const Variable b(Tensor::zeros({3}), true);
  const GradcheckSubject reference{[&] { return std::vector<Variable>{a * 1.0}; }, {{"a", a}}};
  const GradcheckSubject subject{[&] { return std::vector<Variable>{b * 1.0}; }, {{"a", b}}};
  CHECK_THROWS_MATCHES(gradcheck_against_float64(reference, subject), ShapeError,
                       MessageMatches(ContainsSubstring("a [2] in the reference and a [3]")));
  CHECK_THROWS_AS(gradcheck_against_float64(subject, reference), DTypeError);
  CHECK_THROWS_AS(gradcheck_against_float64(reference, {subject.f, {}}), ValueError);
}

}  // namespace
}  // namespace attune
