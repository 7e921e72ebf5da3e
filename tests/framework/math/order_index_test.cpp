#include <catch2/catch_test_macros.hpp>

#include <limits>

#include "framework/error.h"
#include "framework/math/arithmetic.h"
#include "framework/math/create.h"
#include "framework/math/index.h"
#include "framework/math/order.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

namespace attune {
namespace {

using testing::error_text;
using testing::random_tensor;
using testing::same_values;
using testing::values;

using Numbers = std::vector<double>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Tensor indices(const std::vector<int64_t>& numbers, const Shape& shape) { return Tensor::from(numbers, shape); }

void says(const std::string& text, const char* part) {
  INFO(text << " says " << part);
  CHECK(text.find(part) != std::string::npos);
}

TEST_CASE("sorting keeps the order of equals", "[math][order]") {
  const Tensor x = Tensor::from(std::vector<float>{3, 1, 2, 1, 5, 5}, {2, 3});
  CHECK(values(sort(x).values) == Numbers{1, 2, 3, 1, 5, 5});
  CHECK(values(sort(x).indices) == Numbers{1, 2, 0, 0, 1, 2});
  CHECK(values(sort(x, -1, true).values) == Numbers{3, 2, 1, 5, 5, 1});
  CHECK(values(sort(x, -1, true).indices) == Numbers{0, 2, 1, 1, 2, 0});
  CHECK(values(argsort(x, 0)) == Numbers{1, 0, 0, 0, 1, 1});
  CHECK(values(sort(x, 0).values) == Numbers{1, 1, 2, 3, 5, 5});
  const Tensor holes = Tensor::from(std::vector<float>{2, kNan, -1, kNan}, {4});
  CHECK(values(argsort(holes)) == Numbers{2, 0, 1, 3});
  CHECK(values(argsort(holes, 0, true)) == Numbers{1, 3, 0, 2});
  CHECK(values(sort(indices({3, -1, 2}, {3})).values) == Numbers{-1, 2, 3});
  CHECK(sort(x.to(DType::kBFloat16)).values.dtype() == DType::kBFloat16);
  CHECK(sort(Tensor::zeros({0, 3})).values.shape() == Shape{0, 3});
  CHECK(sort(Tensor::zeros({3, 0})).indices.shape() == Shape{3, 0});
}

TEST_CASE("the k largest and smallest", "[math][order]") {
  const Tensor x = Tensor::from(std::vector<float>{4, 1, 3, 4, 2, 0}, {2, 3});
  CHECK(values(topk(x, 2).values) == Numbers{4, 3, 4, 2});
  CHECK(values(topk(x, 2).indices) == Numbers{0, 2, 0, 1});
  CHECK(values(topk(x, 1, -1, false).values) == Numbers{1, 0});
  CHECK(values(topk(x, 1, 0).indices) == Numbers{0, 1, 0});
  CHECK(values(topk(indices({5, 9, 7}, {3}), 2).values) == Numbers{9, 7});
  CHECK(topk(x, 0).values.shape() == Shape{2, 0});
  CHECK(topk(Tensor::zeros({0, 3}), 2).indices.shape() == Shape{0, 2});
  const Tensor holes = Tensor::from(std::vector<float>{2, kNan, -1}, {3});
  CHECK(values(topk(holes, 2).indices) == Numbers{1, 0});
  CHECK(values(topk(holes, 2, 0, false).indices) == Numbers{2, 0});
  // Few are selected, many are sorted: the same.
  const Tensor many = random_tensor({3, 200}, DType::kFloat32);
  const Ordered sorted = sort(many, 1, true);
  for (const int64_t k : {1, 64, 65, 200}) {
    CHECK(same_values(topk(many, k).values, sorted.values.slice(1, 0, k)));
    CHECK(same_values(topk(many, k).indices, sorted.indices.slice(1, 0, k)));
  }
  says(error_text<ValueError>([&] { topk(x, 4); }), "k 4");
  says(error_text<ShapeError>([&] { topk(x, 1, 2); }), "axis 2");
  says(error_text<DTypeError>([&] { sort(x.to(DType::kBool)); }), "bool");
}

TEST_CASE("rows and elements by index, of every dtype", "[math][index]") {
  const Tensor numbers = arange(6).view({3, 2});
  for (const DType dtype : kDTypes) {
    INFO(dtype_name(dtype));
    const Tensor x = numbers.to(dtype);
    CHECK(same_values(index_select(x, 0, indices({2, 0, -3}, {3})), indices({4, 5, 0, 1, 0, 1}, {3, 2}).to(dtype)));
    CHECK(same_values(index_select(x.transpose(0, 1), 1, indices({-1}, {1})), indices({4, 5}, {2, 1}).to(dtype)));
    CHECK(same_values(gather(x, 1, indices({1, 0, -1}, {3, 1})), indices({1, 2, 5}, {3, 1}).to(dtype)));
    CHECK(same_values(scatter(x, 0, indices({-1, 0}, {1, 2}), indices({1, 0}, {1, 2}).to(dtype)),
                      indices({0, 0, 2, 3, 1, 5}, {3, 2}).to(dtype)));
    CHECK(x.dtype() == scatter(x, 0, indices({0, 0}, {1, 2}), x.slice(0, 0, 1)).dtype());
  }
  const int64_t large = (int64_t{1} << 60) + 1;
  CHECK(index_select(indices({large}, {1}), 0, indices({0}, {1})).to_vector<int64_t>()[0] == large);
  // The last of repeated indices stays.
  CHECK(values(scatter(Tensor::zeros({2}), 0, indices({1, 1}, {2}), Tensor::from(std::vector<float>{3, 4}, {2}))) ==
        Numbers{0, 4});
  CHECK(gather(numbers, 0, indices({}, {0, 2})).shape() == Shape{0, 2});
}

TEST_CASE("what is scattered adds up", "[math][index]") {
  const Tensor places = indices({0, 2, 2, -1}, {4});
  CHECK(values(scatter_add(Tensor::zeros({3}), 0, places, ones({4}))) == Numbers{1, 0, 3});
  const Tensor counts = scatter_add(Tensor::zeros({3}, DType::kInt64), 0, places, ones({4}, DType::kInt64));
  CHECK(counts.dtype() == DType::kInt64);
  CHECK(values(counts) == Numbers{1, 0, 3});
  const Tensor many = Tensor::zeros({1000}, DType::kInt64);
  CHECK(scatter_add(Tensor::zeros({2}, DType::kInt64), 0, many, ones({1000}, DType::kInt64)).select(0, 0).item() ==
        1000);
  CHECK(values(scatter_add(ones({2, 2}), 1, indices({1, 0}, {2, 1}), ones({2, 1}))) == Numbers{1, 2, 2, 1});
}

TEST_CASE("indices outside are named", "[math][index][errors]") {
  const Tensor x = Tensor::zeros({3, 2});
  says(error_text<ValueError>([&] { index_select(x, 0, indices({0, 3}, {2})); }), "index 3 at position [1]");
  says(error_text<ValueError>([&] { index_select(x, 0, indices({-4}, {1})); }),
       "index -4 at position [0] of [1] is outside -3 ... 2");
  says(error_text<DTypeError>([&] { index_select(x, 0, ones({2})); }), "expected int64");
  says(error_text<ShapeError>([&] { gather(x, 1, indices({0}, {1})); }), "[3, 2]");
  says(error_text<DTypeError>([&] { scatter(x, 0, indices({0, 0}, {1, 2}), indices({0, 0}, {1, 2})); }), "int64");
  says(error_text<DTypeError>([&] { scatter_add(x.to(DType::kBool), 0, indices({0, 0}, {1, 2}), x); }), "bool");
  says(error_text<ShapeError>([&] { x.select(0, -4); }), "index -4");
  says(error_text<ShapeError>([&] { x.slice(0, -4, 2); }), "-4 ... 2");
  says(error_text<ShapeError>([&] { x.slice(0, 0, 2, 0); }), "step 0");
}

}  // namespace
}  // namespace attune
