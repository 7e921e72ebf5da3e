#include "framework/math/arithmetic.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>

#include "framework/error.h"
#include "framework/math/compare.h"
#include "framework/math/create.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

namespace attune {
namespace {

using testing::error_text;
using testing::max_difference;
using testing::same_values;
using testing::values;

using Numbers = std::vector<double>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Tensor floats(const std::vector<float>& numbers) {
  return Tensor::from(numbers, {static_cast<int64_t>(numbers.size())});
}
Tensor integers(const std::vector<int64_t>& numbers) {
  return Tensor::from(numbers, {static_cast<int64_t>(numbers.size())});
}

bool says(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts) {
    INFO(text << " says " << part);
    CHECK(text.find(part) != std::string::npos);
    if (text.find(part) == std::string::npos) return false;
  }
  return true;
}

TEST_CASE("tensors are computed with as numbers are", "[math]") {
  const Tensor a = floats({1, 2, 3});
  const Tensor b = floats({4, -5, 0.5});
  CHECK(values(a + b) == Numbers{5, -3, 3.5});
  CHECK(values(a - b) == Numbers{-3, 7, 2.5});
  CHECK(values(a * b) == Numbers{4, -10, 1.5});
  CHECK(values(a / b) == Numbers{0.25, static_cast<double>(-0.4f), 6});
  CHECK(values(-a) == Numbers{-1, -2, -3});
  CHECK(values(a + 1) == Numbers{2, 3, 4});
  CHECK(values(1 + a) == Numbers{2, 3, 4});
  CHECK(values(a - 0.5) == Numbers{0.5, 1.5, 2.5});
  CHECK(values(1 - a) == Numbers{0, -1, -2});
  CHECK(values(a * 2) == Numbers{2, 4, 6});
  CHECK(values(2 * a) == Numbers{2, 4, 6});
  CHECK(values(a / 2) == Numbers{0.5, 1, 1.5});
  CHECK(values(6 / a) == Numbers{6, 3, 2});
  CHECK(std::signbit((floats({-0.0f}) * 2).item()));
  CHECK(std::signbit((-floats({0})).item()));
  CHECK((floats({7}) / 10).item() == static_cast<double>(7.0f / 10.0f));
}

TEST_CASE("arithmetic broadcasts, follows strides and keeps the dtype", "[math]") {
  const Tensor rows = arange(6).view({2, 3}).to(DType::kFloat64);
  CHECK(same_values(rows + rows.slice(0, 0, 1), Tensor::from(Numbers{0, 2, 4, 3, 5, 7}, {2, 3})));
  CHECK(same_values(rows.transpose(0, 1) * 1, Tensor::from(Numbers{0, 3, 1, 4, 2, 5}, {3, 2})));
  CHECK((rows.unsqueeze(0) + Tensor::zeros({4, 1, 1}, DType::kFloat64)).shape() == Shape{4, 2, 3});
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kBFloat16, DType::kInt64}) {
    CHECK((rows.to(dtype) + 1).dtype() == dtype);
    CHECK((rows.to(dtype) * rows.to(dtype)).dtype() == dtype);
  }
  CHECK((Tensor::zeros({0, 3}) + 1).shape() == Shape{0, 3});
}

TEST_CASE("integers keep to themselves and wrap around", "[math]") {
  const Tensor a = integers({7, -7, 0});
  CHECK((a + 1).dtype() == DType::kInt64);
  CHECK(values(a * a) == Numbers{49, 49, 0});
  CHECK((a + 0.5).dtype() == DType::kFloat32);
  CHECK((a / 2).dtype() == DType::kFloat32);
  CHECK(values(a / 2) == Numbers{3.5, -3.5, 0});
  CHECK(values(-a) == Numbers{-7, 7, 0});
  const int64_t largest = std::numeric_limits<int64_t>::max();
  CHECK((integers({largest}) + 1).to_vector<int64_t>()[0] == std::numeric_limits<int64_t>::min());
  CHECK((integers({0}) + largest).to_vector<int64_t>()[0] == largest);
  // Python's // and %.
  CHECK(values(floor_divide(a, 2)) == Numbers{3, -4, 0});
  CHECK(values(remainder(a, 2)) == Numbers{1, 1, 0});
  CHECK(values(floor_divide(a, -2)) == Numbers{-4, 3, 0});
  CHECK(values(remainder(a, -2)) == Numbers{-1, -1, 0});
  CHECK((floor_divide(integers({std::numeric_limits<int64_t>::min()}), -1)).numel() == 1);  // traps where divided
  CHECK(values(remainder(floats({7, -7, 5.5}), 2)) == Numbers{1, 1, 1.5});
  CHECK(values(floor_divide(floats({7, -7, 5.5}), 2)) == Numbers{3, -4, 2});
  CHECK(values(pow(integers({2, -3, 0, 1, 2}), integers({10, 3, 0, -5, -1}))) == Numbers{1024, -27, 1, 1, 0});
  CHECK(values(abs(a)) == Numbers{7, 7, 0});
  CHECK(values(sign(a)) == Numbers{1, -1, 0});
  CHECK(values(square(a)) == Numbers{49, 49, 0});
}

TEST_CASE("tensors change in place", "[math]") {
  Tensor x = floats({1, 2, 4});
  const Tensor handle = x;
  const uint32_t before = x.version();
  x += 1;
  x *= floats({2, 2, 2});
  x -= 1;
  x /= 3;
  CHECK(same_values(handle, floats({1, 5.0f / 3, 3})));
  CHECK(x.version() > before);
  x /= x;
  CHECK(values(x) == Numbers{1, 1, 1});
  Tensor ids = integers({1, 2});
  ids += 3;
  ids *= integers({2});
  CHECK(values(ids) == Numbers{8, 10});

  // What is read lies beneath what is written.
  Tensor square = arange(4).view({2, 2}).to(DType::kFloat32);
  square += square.transpose(0, 1);
  CHECK(values(square) == Numbers{0, 3, 3, 6});
  Tensor row = floats({1, 2, 3});
  row += row.slice(0, 0, 1);
  CHECK(values(row) == Numbers{2, 3, 4});
}

TEST_CASE("functions of elements", "[math]") {
  const Tensor x = Tensor::from(Numbers{-2.5, -0.5, 0.5, 1.5, 3}, {5});
  CHECK(values(floor(x)) == Numbers{-3, -1, 0, 1, 3});
  CHECK(values(ceil(x)) == Numbers{-2, 0, 1, 2, 3});
  CHECK(values(round(x)) == Numbers{-2, 0, 0, 2, 3});
  CHECK(values(sign(x)) == Numbers{-1, -1, 1, 1, 1});
  CHECK(std::isnan(sign(floats({static_cast<float>(kNan)})).item()));
  const auto agrees = [&](const Tensor& y, double (*f)(double)) {
    const Numbers got = values(y);
    const Numbers from = values(x);
    for (size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - f(from[i])) <= 1e-14 * std::abs(f(from[i])));
  };
  agrees(exp(x), [](double v) { return std::exp(v); });
  agrees(sin(x), [](double v) { return std::sin(v); });
  agrees(cos(x), [](double v) { return std::cos(v); });
  agrees(tanh(x), [](double v) { return std::tanh(v); });
  agrees(erf(x), [](double v) { return std::erf(v); });
  agrees(sigmoid(x), [](double v) { return 1 / (1 + std::exp(-v)); });
  agrees(log(abs(x)), [](double v) { return std::log(std::abs(v)); });
  agrees(expm1(x), [](double v) { return std::expm1(v); });
  agrees(expm1(1e-9 * x), [](double v) { return std::expm1(1e-9 * v); });
  agrees(log1p(abs(x)), [](double v) { return std::log1p(std::abs(v)); });
  agrees(log1p(1e-9 * x), [](double v) { return std::log1p(1e-9 * v); });
  const Numbers ends = values(log1p(Tensor::from(Numbers{-1, -2, kInfinity, -0.75, 0}, {5})));
  CHECK(ends[0] == -kInfinity);
  CHECK(std::isnan(ends[1]));
  CHECK(ends[2] == kInfinity);
  CHECK(std::abs(ends[3] - std::log1p(-0.75)) < 1e-15);
  CHECK(ends[4] == 0);
  agrees(sqrt(abs(x)), [](double v) { return std::sqrt(std::abs(v)); });
  agrees(rsqrt(abs(x)), [](double v) { return 1 / std::sqrt(std::abs(v)); });
  agrees(reciprocal(x), [](double v) { return 1 / v; });
  agrees(pow(x, 3), [](double v) { return v * v * v; });
  agrees(pow(x, -2), [](double v) { return 1 / (v * v); });
  agrees(pow(2, x), [](double v) { return std::exp2(v); });
  CHECK(std::isnan(pow(x, 0.5).to_vector<double>()[0]));

  CHECK(values(clamp(x, -1, 1)) == Numbers{-1, -0.5, 0.5, 1, 1});
  CHECK(values(clamp(integers({-3, 0, 3}), -1, 2)) == Numbers{-1, 0, 2});
  CHECK(values(maximum(x, 1)) == Numbers{1, 1, 1, 1.5, 3});
  CHECK(values(minimum(x, 1)) == Numbers{-2.5, -0.5, 0.5, 1, 1});
  CHECK(std::isnan(maximum(floats({static_cast<float>(kNan)}), 1).item()));
  CHECK(std::isnan(minimum(floats({1}), floats({static_cast<float>(kNan)})).item()));
  CHECK(values(maximum(integers({1, 5}), integers({3}))) == Numbers{3, 5});
  CHECK(values(lerp(floats({0, 10}), floats({1, 20}), 0.25)) == Numbers{0.25, 12.5});
  CHECK(values(exp(floats({static_cast<float>(-kInfinity)}))) == Numbers{0});
}

TEST_CASE("what cannot be computed says what to do", "[math][errors]") {
  const Tensor a = Tensor::zeros({2, 3});
  CHECK(says(error_text<ShapeError>([&] { a + Tensor::zeros({4, 3}); }), {"add", "[2, 3]", "[4, 3]"}));
  CHECK(says(error_text<DTypeError>([&] { a* a.to(DType::kInt64); }), {"mul", "float32", "int64", "to("}));
  CHECK(says(error_text<DTypeError>([&] { a.to(DType::kUInt8) + 1; }), {"uint8 [2, 3]", "to("}));
  CHECK(says(error_text<DTypeError>([&] { a.to(DType::kBool) - a.to(DType::kBool); }), {"sub", "bool", "to("}));
  CHECK(says(error_text<DTypeError>([&] { exp(a.to(DType::kInt64)); }), {"exp", "int64", "floating"}));
  CHECK(says(error_text<ValueError>([&] { a + Tensor(); }), {"add", "b is undefined"}));
  CHECK(says(error_text<ValueError>([&] { -Tensor(); }), {"undefined"}));
  CHECK(says(error_text<ValueError>([&] {
               floor_divide(integers({1, 2}), integers({3, 0}));
             }),
             {"floor_divide", "division by 0", "position [1]", "[2]"}));
  CHECK(says(error_text<ValueError>([&] { remainder(integers({1}), 0); }), {"remainder", "division by 0"}));
  CHECK(says(error_text<ValueError>([&] { clamp(a, 2, 1); }), {"low 2", "high 1"}));
  Tensor x = Tensor::zeros({3});
  CHECK(says(error_text<ShapeError>([&] { x += a; }), {"add", "[2, 3]", "[3]", "in place"}));
  Tensor ids = integers({1});
  CHECK(says(error_text<DTypeError>([&] { ids /= 2; }), {"div", "int64", "floor_divide"}));
  CHECK(says(error_text<DTypeError>([&] { ids += 0.5; }), {"add", "0.5", "int64"}));
  Tensor repeated = Tensor::zeros({1, 3}).expand({2, 3});
  CHECK(says(error_text<ValueError>([&] { repeated += 1; }), {"repeats", "axis 0", "clone"}));
}

}  // namespace
}  // namespace attune
