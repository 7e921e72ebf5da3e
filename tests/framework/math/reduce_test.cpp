#include "framework/math/reduce.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>

#include "framework/error.h"
#include "framework/math/arithmetic.h"
#include "framework/math/create.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

namespace attune {
namespace {

using testing::error_text;
using testing::max_difference;
using testing::random_tensor;
using testing::same_values;
using testing::values;

using Numbers = std::vector<double>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// [[0, 1, 2], [3, 4, 5]]
Tensor table(DType dtype = DType::kFloat32) { return arange(6).view({2, 3}).to(dtype); }

TEST_CASE("reductions over any axes", "[math][reduce]") {
  const Tensor x = table();
  CHECK(sum(x).shape() == Shape{});
  CHECK(sum(x).item() == 15);
  CHECK(values(sum(x, 0)) == Numbers{3, 5, 7});
  CHECK(values(sum(x, {-1})) == Numbers{3, 12});
  CHECK(sum(x, {0, 1}, true).shape() == Shape{1, 1});
  CHECK(sum(x, std::vector<int>{1}, true).shape() == Shape{2, 1});
  CHECK(values(mean(x, 1)) == Numbers{1, 4});
  CHECK(values(prod(x + 1, 0)) == Numbers{4, 10, 18});
  CHECK(values(max(x, 0)) == Numbers{3, 4, 5});
  CHECK(values(min(x, 1)) == Numbers{0, 3});
  CHECK(max(x).item() == 5);
  CHECK(min(-x).item() == -5);
  // var and std of torch: 3.5, 1.8708; of numpy: 2.9167.
  CHECK(var(x).item() == 3.5);
  CHECK(std::abs(stddev(x).item() - std::sqrt(3.5)) < 1e-6);
  CHECK(std::abs(var(x, {}, false, 0).item() - 17.5 / 6) < 1e-6);
  CHECK(values(var(x, 1)) == Numbers{1, 1});
  CHECK(values(norm(Tensor::from(std::vector<float>{3, 4, 0, 5}, {2, 2}), 1)) == Numbers{5, 5});
  CHECK(std::abs(logsumexp(x).item() - 5.4561934) < 1e-6);
}

TEST_CASE("a reduction of axes apart is that of one after the other", "[math][reduce]") {
  const Tensor x = random_tensor({3, 4, 2, 5});
  CHECK(max_difference(sum(x, {0, 2}), sum(sum(x, 2), 0)) < 1e-12);
  CHECK(max_difference(prod(x, {1, 3}), prod(prod(x, 3), 1)) < 1e-12);
  CHECK(same_values(max(x, {0, 2}), max(max(x, 2), 0)));
  CHECK(same_values(min(x, {1, -1}, true), min(min(x, 3, true), 1, true)));
  CHECK(max_difference(logsumexp(x, {0, 3}), log(sum(exp(x), {0, 3}))) < 1e-12);
  CHECK(max_difference(max(x.permute({3, 1, 0, 2}), 0), max(x, 3).permute({1, 0, 2})) < 1e-12);
}

TEST_CASE("integers and bools are counted exactly", "[math][reduce]") {
  const Tensor ids = table(DType::kInt64);
  CHECK(sum(ids).dtype() == DType::kInt64);
  CHECK(sum(ids + (int64_t{1} << 60)).to_vector<int64_t>()[0] == 15 + 6 * (int64_t{1} << 60));
  CHECK(values(sum(ids, 0)) == Numbers{3, 5, 7});
  CHECK(values(prod(ids + 1, 1)) == Numbers{6, 120});
  CHECK(max(ids).dtype() == DType::kInt64);
  CHECK(values(min(ids, 0)) == Numbers{0, 1, 2});
  const Tensor odd = remainder(ids, 2).to(DType::kBool);
  CHECK(sum(odd).dtype() == DType::kInt64);
  CHECK(values(sum(odd, 1)) == Numbers{1, 2});
  CHECK(values(any(odd, 0)) == Numbers{1, 1, 1});
  CHECK(values(all(odd, 0)) == Numbers{0, 0, 0});
  CHECK(all(odd).dtype() == DType::kBool);
  CHECK(all(Tensor::zeros({0}, DType::kBool)).item() == 1);
  CHECK(any(Tensor::zeros({0}, DType::kBool)).item() == 0);
  CHECK(count_nonzero(ids).item() == 5);
  CHECK(values(count_nonzero(table(DType::kUInt8), 0)) == Numbers{1, 2, 2});
  CHECK(values(cumsum(odd, 1)) == Numbers{0, 1, 1, 1, 1, 2});
}

TEST_CASE("places of the largest and smallest", "[math][reduce]") {
  const Tensor x = Tensor::from(std::vector<float>{1, 5, 5, 0, 0, -2}, {2, 3});
  CHECK(values(argmax(x, 1)) == Numbers{1, 0});
  CHECK(values(argmin(x, 0)) == Numbers{1, 1, 1});
  CHECK(argmax(x).item() == 1);
  CHECK(argmin(x).item() == 5);
  CHECK(argmax(x, 1).dtype() == DType::kInt64);
  CHECK(argmax(x, -1, true).shape() == Shape{2, 1});
  const Tensor holes = Tensor::from(std::vector<float>{1, kNan, 7, kNan}, {4});
  CHECK(argmax(holes).item() == 1);
  CHECK(argmin(holes).item() == 1);
  CHECK(std::isnan(max(holes).item()));
  CHECK(std::isnan(min(holes).item()));
  CHECK(argmax(table(DType::kInt64)).item() == 5);
  CHECK(argmax(Tensor::zeros({0, 3}), 1).shape() == Shape{0});
}

TEST_CASE("infinities in logsumexp", "[math][reduce]") {
  const Tensor x =
      Tensor::from(std::vector<float>{-kInfinity, -kInfinity, 0, -kInfinity, 1, kInfinity, 1000, 1000}, {4, 2});
  const Numbers got = values(logsumexp(x, 1));
  CHECK(got[0] == -static_cast<double>(kInfinity));
  CHECK(got[1] == 0);
  CHECK(got[2] == static_cast<double>(kInfinity));
  CHECK(std::abs(got[3] - (1000 + std::log(2.0))) < 1e-4);
}

TEST_CASE("log_normalizer is softmax's, in float64", "[math][reduce]") {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kBFloat16}) {
    const Tensor x = Tensor::from(std::vector<float>{1, 2, 3, 1e6, 1e6, 1e6}, {2, 1, 3}, dtype);
    const Tensor y = log_normalizer(x, 2);
    CHECK(y.dtype() == DType::kFloat64);
    CHECK(y.shape() == Shape{2, 1});
    const Numbers got = values(y);
    CHECK(std::abs(got[0] - std::log(std::exp(0.5) + std::exp(1.0) + std::exp(1.5))) < 1e-6);
    const double large = x.to(DType::kFloat64).select(0, 1).select(1, 0).item();
    CHECK(std::abs(got[1] - large / 2 - std::log(3.0)) < 1e-6);
  }
  CHECK(error_text<ValueError>([] { log_normalizer(Tensor::zeros({2}), 0); }) ==
        "log_normalizer: temperature is 0, expected above 0");
}

TEST_CASE("running sums and products", "[math][reduce]") {
  const Tensor x = table();
  CHECK(values(cumsum(x, 0)) == Numbers{0, 1, 2, 3, 5, 7});
  CHECK(values(cumsum(x, -1)) == Numbers{0, 1, 3, 3, 7, 12});
  CHECK(values(cumprod(x + 1, 1)) == Numbers{1, 2, 6, 4, 20, 120});
  CHECK(values(cumsum(table(DType::kInt64).transpose(0, 1), 1)) == Numbers{0, 3, 1, 5, 2, 7});
  CHECK(cumsum(Tensor::zeros({0, 3}), 0).shape() == Shape{0, 3});
  // In float32 alone, a running sum of ones stops at 2^24.
  const int64_t many = (int64_t{1} << 24) + 10;
  CHECK(cumsum(ones({many}), 0).select(0, -2).item() == static_cast<double>(static_cast<float>(many - 1)));
}

TEST_CASE("reductions that cannot be", "[math][reduce][errors]") {
  const Tensor x = table();
  const auto says = [](const std::string& text, const char* part) {
    INFO(text << " says " << part);
    CHECK(text.find(part) != std::string::npos);
  };
  says(error_text<ShapeError>([&] { sum(x, 2); }), "sum: axis 2 is outside shape [2, 3]");
  says(error_text<ShapeError>([&] { sum(x, {0, -2}); }), "axis -2 of shape [2, 3] is given twice");
  says(error_text<ShapeError>([&] { max(Tensor::zeros({2, 0}), 1); }), "[2, 0]");
  says(error_text<ShapeError>([&] { argmax(Tensor::zeros({0})); }), "argmax");
  says(error_text<ShapeError>([&] { mean(Tensor::zeros({2, 0}), 1); }), "no mean");
  says(error_text<ValueError>([&] { var(Tensor::zeros({1})); }), "1 elements");
  says(error_text<DTypeError>([&] { mean(table(DType::kInt64)); }), "int64");
  says(error_text<DTypeError>([&] { sum(table(DType::kUInt8)); }), "uint8");
  says(error_text<DTypeError>([&] { all(x); }), "expected bool");
  says(error_text<ShapeError>([&] { cumsum(x, 2); }), "cumsum: axis 2");
  says(error_text<ShapeError>([&] { sum(x, std::vector<int>(9)); }), "9 axes");
  says(error_text<ValueError>([&] { sum(Tensor()); }), "undefined");
}

}  // namespace
}  // namespace attune
