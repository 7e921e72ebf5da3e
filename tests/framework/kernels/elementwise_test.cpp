#include "framework/kernels/elementwise.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "framework/kernels/functors_activation.h"
#include "framework/random.h"
#include "tests/framework/kernels/targets.h"

namespace attune {
namespace {

using testing::for_each_instruction_set;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

using Unary = const Kernel<const Tensor&, Tensor&>&;

template <class T>
Tensor tensor(const std::vector<double>& values) {
  return Tensor::from(std::vector<T>(values.begin(), values.end()), {static_cast<int64_t>(values.size())});
}

Tensor result(Unary kernel, const Tensor& x) {
  Tensor y = Tensor::empty_like(x);
  kernel(x, y);
  return y;
}

/// A kernel with numbers, called as those without.
template <class Parametric>
auto with(const Parametric& kernel, double first, double second) {
  return [&kernel, first, second](const Tensor& x) {
    Tensor y = Tensor::empty_like(x);
    kernel(x, first, second, y);
    return y;
  };
}
auto without(Unary kernel) {
  return [&kernel](const Tensor& x) { return result(kernel, x); };
}

// Error of a kernel against the same formula in long double, in epsilons of the larger of value and 1 (gelu and its
// like cross 0, where a relative error says nothing).
template <class T, class Compute, class Formula>
double worst_error(const Compute& compute, const Formula& formula, double low, double high) {
  const Tensor x = RandomStream(1).uniform({20011}, low, high, kDTypeOf<T>);
  const Tensor y = compute(x);
  double worst = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const long double expected = formula.forward(static_cast<long double>(x.data<T>()[i]));
    const long double error = std::abs(y.data<T>()[i] - expected) / std::max(std::abs(expected), 1.0L);
    worst = std::max(worst, static_cast<double>(error));
  }
  return worst / std::numeric_limits<T>::epsilon();
}

TEST_CASE("unary kernels compute their formulas, on every instruction set", "[kernels]") {
  for_each_instruction_set([](const char* target) {
    const auto check = [&](const char* name, const auto& compute, const auto& formula) {
      const bool positive = name == std::string("log") || name == std::string("sqrt");
      INFO(target << ", " << name);
      CHECK(worst_error<float>(compute, formula, positive ? 0.01 : -8, 8) < 3);
      CHECK(worst_error<double>(compute, formula, positive ? 0.01 : -8, 8) < 3);
    };
#define ATTUNE_CHECK(NAME, FORMULA) check(#NAME, without(kernels::NAME), functors::FORMULA());
    ATTUNE_UNARY_KERNELS(ATTUNE_CHECK)
#undef ATTUNE_CHECK
#define ATTUNE_CHECK(NAME, FORMULA) check(#NAME, with(kernels::NAME, 0.7, 1.3), functors::FORMULA({0.7, 1.3}));
    ATTUNE_PARAMETRIC_KERNELS(ATTUNE_CHECK)
#undef ATTUNE_CHECK
  });
}

TEST_CASE("every derivative is that of its formula where a gradient flows and 0 where none does", "[kernels]") {
  const Tensor x = tensor<double>({0.4, 1.7, -0.9, 3.1});
  const auto check = [&](const char* name, const auto& compute, const auto& backward, const auto& formula) {
    const bool positive = name == std::string("log") || name == std::string("sqrt");
    for (const bool from_output : {false, true}) {
      // A NaN in what was saved meets a gradient of 0.
      Tensor saved = from_output ? compute(x) : x.clone();
      saved.data<double>()[3] = kNan;
      Tensor dx = Tensor::empty_like(x);
      backward(saved, tensor<double>({2, -1, positive ? 0.0 : 3, 0}), dx);
      INFO(name);
      CHECK(dx.data<double>()[3] == 0);
      if (positive) CHECK(dx.data<double>()[2] == 0);
      for (const int i : {0, 1}) {
        const double s = saved.data<double>()[i];
        CHECK(std::abs(dx.data<double>()[i] - (i == 0 ? 2 : -1) * formula.derivative(s)) < 1e-14);
      }
    }
  };
#define ATTUNE_CHECK(NAME, FORMULA) check(#NAME, without(kernels::NAME), kernels::NAME##_backward, functors::FORMULA());
  ATTUNE_UNARY_KERNELS(ATTUNE_CHECK)
#undef ATTUNE_CHECK
#define ATTUNE_CHECK(NAME, FORMULA)                                                                                 \
  check(                                                                                                            \
      #NAME, with(kernels::NAME, 0.7, 1.3),                                                                         \
      [](const Tensor& saved, const Tensor& dy, Tensor& dx) { kernels::NAME##_backward(saved, dy, 0.7, 1.3, dx); }, \
      functors::FORMULA({0.7, 1.3}));
  ATTUNE_PARAMETRIC_KERNELS(ATTUNE_CHECK)
#undef ATTUNE_CHECK
}

TEST_CASE("NaN and infinity pass through elementwise kernels as they should", "[kernels]") {
  for_each_instruction_set([](const char* target) {
    INFO(target);
    const Tensor x = tensor<float>({kNan, kInfinity, -kInfinity, 1e30, -1e30});
    const auto values = [&](Unary kernel) { return result(kernel, x).to_vector<float>(); };
    for (Unary kernel : {kernels::relu, kernels::silu, kernels::gelu, kernels::gelu_tanh, kernels::abs,
                         kernels::softplus, kernels::sigmoid, kernels::tanh, kernels::mish, kernels::hard_sigmoid,
                         kernels::hard_swish, kernels::softsign}) {
      INFO(kernel.name);
      CHECK(std::isnan(values(kernel)[0]));
      CHECK_FALSE(std::isnan(values(kernel)[3]));
      CHECK_FALSE(std::isnan(values(kernel)[4]));
    }
    CHECK(values(kernels::relu)[1] == kInfinity);
    CHECK(values(kernels::relu)[2] == 0);
    CHECK(values(kernels::softplus)[2] == 0);
    CHECK(values(kernels::softplus)[3] == 1e30f);
    CHECK(values(kernels::hard_swish)[2] == 0);
    CHECK(values(kernels::hard_swish)[1] == kInfinity);
    for (const auto& [kernel, wanted] : {std::pair(&kernels::elu, std::vector<float>{INFINITY, -0.5, 1e30f, -0.5}),
                                         {&kernels::leaky_relu, std::vector<float>{INFINITY, -INFINITY, 1e30f, -5e29f}},
                                         {&kernels::swish, std::vector<float>{INFINITY, NAN, 1e30f, 0}},
                                         {&kernels::huber, std::vector<float>{INFINITY, INFINITY, 5e29f, 5e29f}}}) {
      INFO(kernel->name);
      const std::vector<float> y = with(*kernel, 0.5, 1)(x).template to_vector<float>();
      CHECK(std::isnan(y[0]));
      for (size_t i = 0; i < wanted.size(); ++i) CHECK((y[i + 1] == wanted[i] || std::isnan(wanted[i])));
    }
    Tensor y = Tensor::empty_like(x);
    kernels::clamp(x, -2, 3, y);
    CHECK(std::isnan(y.data<float>()[0]));
    CHECK(y.slice(0, 1, 5).to_vector<float>() == std::vector<float>{3, -2, 3, -2});
  });
}

TEST_CASE("maximum, minimum and where choose without a trace of the other", "[kernels]") {
  const Tensor a = tensor<float>({1, 2, kNan, 3, kNan});
  const Tensor b = tensor<float>({1, 3, 4, kNan, kNan});
  Tensor first = Tensor::empty({5}, DType::kBool);
  kernels::prefers_first(a, b, false, first);
  CHECK(first.to(DType::kInt64).to_vector<int64_t>() == std::vector<int64_t>{1, 0, 1, 0, 1});
  kernels::prefers_first(a, b, true, first);
  CHECK(first.to(DType::kInt64).to_vector<int64_t>() == std::vector<int64_t>{1, 1, 1, 0, 1});
  Tensor y = Tensor::empty({5});
  kernels::where(first, tensor<float>({1, 2, 3, kNan, 5}), Tensor(), y);
  CHECK(y.to_vector<float>() == std::vector<float>{1, 2, 3, 0, 5});
  kernels::where(first, Tensor(), tensor<float>({kNan, kNan, kNan, 4, kNan}), y);
  CHECK(y.to_vector<float>() == std::vector<float>{0, 0, 0, 4, 0});
}

TEST_CASE("binary kernels broadcast every which way", "[kernels]") {
  RandomStream stream(2);
  const std::pair<Shape, Shape> shapes[] = {{{3, 700}, {700}},         {{700}, {3, 700}},    {{40, 1, 90}, {1, 50, 1}},
                                            {{200, 300}, {}},          {{}, {200, 300}},     {{200, 300}, {200, 1}},
                                            {{5, 4, 3, 2}, {4, 1, 2}}, {{100000}, {100000}}, {{100000}, {1}}};
  for (const auto& [a_shape, b_shape] : shapes) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kBFloat16}) {
      INFO(a_shape.to_string() << " and " << b_shape.to_string() << ", " << dtype_name(dtype));
      const Tensor a = stream.normal(a_shape, 0, 1).to(dtype);
      const Tensor b = stream.normal(b_shape, 0, 1).to(dtype);
      const Shape shape = broadcast_shapes(a_shape, b_shape, "test");
      Tensor y = Tensor::empty(shape, dtype);
      kernels::sub(a, b, y);
      const Tensor left = a.expand(shape).contiguous().to(DType::kFloat32);
      const Tensor right = b.expand(shape).contiguous().to(DType::kFloat32);
      const Tensor got = y.to(DType::kFloat32);
      int64_t wrong = 0;
      for (int64_t i = 0; i < got.numel(); ++i) {
        const float difference = left.data<float>()[i] - right.data<float>()[i];
        const float expected = dtype == DType::kBFloat16 ? static_cast<float>(bfloat16(difference)) : difference;
        // float64 operands were float32 numbers: their difference may have more digits.
        if (std::abs(got.data<float>()[i] - expected) > (dtype == DType::kFloat64 ? 1e-6f : 0.0f)) ++wrong;
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("a result may be an operand, and may lie in strides", "[kernels]") {
  Tensor x = tensor<float>({1, 2, 3, 4, 5, 6}).view({2, 3});
  const Tensor y = tensor<float>({10, 20, 30});
  kernels::add(x, y, x);
  CHECK(x.to_vector<float>() == std::vector<float>{11, 22, 33, 14, 25, 36});
  Tensor column = x.select(1, 1);
  kernels::mul(column, tensor<float>({2, 3}), column);
  CHECK(x.to_vector<float>() == std::vector<float>{11, 44, 33, 14, 75, 36});
  Tensor turned = x.transpose(0, 1);
  kernels::affine(turned, -1, 1, turned);
  CHECK(x.to_vector<float>() == std::vector<float>{-10, -43, -32, -13, -74, -35});
  kernels::sub(x, x, x);
  CHECK(x.to_vector<float>() == std::vector<float>(6, 0.0f));
}

}  // namespace
}  // namespace attune
