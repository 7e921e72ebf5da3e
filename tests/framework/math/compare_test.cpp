#include "framework/math/compare.h"

#include <catch2/catch_test_macros.hpp>

#include <limits>

#include "framework/error.h"
#include "framework/math/arithmetic.h"
#include "framework/math/create.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

namespace attune {
namespace {

using testing::error_text;
using testing::same_values;
using testing::values;

using Numbers = std::vector<double>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST_CASE("comparisons give bool tensors, of every dtype", "[math]") {
  const Tensor three = Tensor::from(std::vector<float>{1, 2, 3}, {3});
  const Tensor two = Tensor::from(std::vector<float>{2, 2, 2}, {3});
  for (const DType dtype : kDTypes) {
    INFO(dtype_name(dtype));
    if (dtype == DType::kBool) continue;
    const Tensor a = three.to(dtype);
    const Tensor b = two.to(dtype);
    CHECK((a == b).dtype() == DType::kBool);
    CHECK(values(a == b) == Numbers{0, 1, 0});
    CHECK(values(a != b) == Numbers{1, 0, 1});
    CHECK(values(a < b) == Numbers{1, 0, 0});
    CHECK(values(a <= b) == Numbers{1, 1, 0});
    CHECK(values(a > b) == Numbers{0, 0, 1});
    CHECK(values(a >= b) == Numbers{0, 1, 1});
    CHECK(values(a <= 2) == Numbers{1, 1, 0});
    CHECK(values(2 <= a) == Numbers{0, 1, 1});
    CHECK(values(2 < a) == Numbers{0, 0, 1});
    CHECK(values(2 > a) == Numbers{1, 0, 0});
    CHECK(values(2 >= a) == Numbers{1, 1, 0});
    CHECK(values(2 == a) == Numbers{0, 1, 0});
    CHECK(values(2 != a) == Numbers{1, 0, 1});
    CHECK(values(a < 2.5) == Numbers{1, 1, 0});
  }
  const Tensor truths = Tensor::from(std::vector<bool>{true, false}, {2});
  CHECK(values(truths == true) == Numbers{1, 0});
  CHECK(values(truths != truths) == Numbers{0, 0});
  CHECK((three.unsqueeze(1) == three).shape() == Shape{3, 3});
  CHECK(values(three.unsqueeze(1) > three) == Numbers{0, 0, 0, 1, 0, 0, 1, 1, 0});
  // Not rounded to floats.
  const int64_t large = (int64_t{1} << 60) + 1;
  CHECK((Tensor::from(std::vector<int64_t>{large}, {1}) == large - 1).item() == 0);
}

TEST_CASE("NaN is unequal to everything", "[math]") {
  const Tensor x = Tensor::from(std::vector<float>{kNan, 1, kInfinity, -kInfinity}, {4});
  CHECK(values(x == x) == Numbers{0, 1, 1, 1});
  CHECK(values(x != x) == Numbers{1, 0, 0, 0});
  CHECK(values(x < 2) == Numbers{0, 1, 0, 1});
  CHECK(values(x >= kNan) == Numbers{0, 0, 0, 0});
  CHECK(values(isnan(x)) == Numbers{1, 0, 0, 0});
  CHECK(values(isinf(x)) == Numbers{0, 0, 1, 1});
  CHECK(values(isfinite(x)) == Numbers{0, 1, 0, 0});
  CHECK(values(isfinite(x.to(DType::kBFloat16))) == Numbers{0, 1, 0, 0});
}

TEST_CASE("logic of bool tensors", "[math]") {
  const Tensor a = Tensor::from(std::vector<bool>{true, true, false, false}, {4});
  const Tensor b = Tensor::from(std::vector<bool>{true, false, true, false}, {4});
  CHECK(values(a & b) == Numbers{1, 0, 0, 0});
  CHECK(values(a | b) == Numbers{1, 1, 1, 0});
  CHECK(values(~a) == Numbers{0, 0, 1, 1});
  CHECK((a.unsqueeze(1) & b).shape() == Shape{4, 4});
  CHECK(values(a.view({2, 2}) | b.view({2, 2}).transpose(0, 1)) == Numbers{1, 1, 0, 0});
  CHECK((Tensor::zeros({0}, DType::kBool) | Tensor::zeros({0}, DType::kBool)).numel() == 0);
}

TEST_CASE("where takes numbers and every dtype", "[math]") {
  const Tensor chosen = Tensor::from(std::vector<bool>{true, false, true}, {3});
  const Tensor x = arange(3).to(DType::kFloat32);
  CHECK(values(where(chosen, x, -x.slice(0, 0, 1))) == Numbers{0, 0, 2});
  CHECK(values(where(chosen, x, -1)) == Numbers{0, -1, 2});
  CHECK(values(where(chosen, 0.5, x)) == Numbers{0.5, 1, 0.5});
  CHECK(where(chosen, 1, 0).dtype() == DType::kInt64);
  CHECK(where(chosen, 1.0, 0).dtype() == DType::kFloat32);
  CHECK(where(chosen, arange(3), 0.5).dtype() == DType::kFloat32);
  for (const DType dtype : kDTypes) {
    CHECK(where(chosen, x.to(dtype), 1).dtype() == dtype);
    CHECK(values(where(chosen, x.to(dtype), 0))[1] == 0);
  }
  CHECK(where(chosen, x.unsqueeze(1), 0).shape() == Shape{3, 3});
}

TEST_CASE("allclose as NumPy's", "[math]") {
  const Tensor a = Tensor::from(std::vector<double>{1, 100}, {2});
  CHECK(allclose(a, a + 1e-9));
  CHECK_FALSE(allclose(a, a + 1e-3));
  CHECK(allclose(a, a + 1e-3, {.atol = 1e-2}));
  CHECK(allclose(a, a * 1.0001, {.rtol = 1e-3}));
  const Tensor wild = Tensor::from(std::vector<float>{kNan, kInfinity}, {2});
  CHECK_FALSE(allclose(wild, wild));
  CHECK(allclose(wild, wild, {.equal_nan = true}));
  CHECK_FALSE(allclose(Tensor::full({1}, kInfinity), -Tensor::full({1}, kInfinity)));
  CHECK_FALSE(allclose(Tensor::full({1}, 1), Tensor::full({1}, kInfinity)));
  CHECK(allclose(arange(3), arange(3)));
}

TEST_CASE("comparisons that cannot be", "[math][errors]") {
  const Tensor x = Tensor::zeros({2, 3});
  const auto says = [](const std::string& text, const char* part) {
    INFO(text << " says " << part);
    CHECK(text.find(part) != std::string::npos);
  };
  says(error_text<ShapeError>([&] { (void)(x == Tensor::zeros({4})); }), "[4]");
  says(error_text<DTypeError>([&] { (void)(x < x.to(DType::kInt64)); }), "int64");
  says(error_text<DTypeError>([&] { x | x; }), "expected bool");
  says(error_text<DTypeError>([&] { where(x, x, 0); }), "expected bool");
  says(error_text<DTypeError>([&] { isnan(arange(3)); }), "int64");
  says(error_text<ValueError>([&] { (void)(x == Tensor()); }), "undefined");
}

}  // namespace
}  // namespace attune
