#include "framework/math/rearrange.h"

#include <catch2/catch_test_macros.hpp>

#include "framework/error.h"
#include "framework/math/arithmetic.h"
#include "framework/math/create.h"
#include "framework/math/linalg.h"
#include "framework/math/reduce.h"
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

/// [[0, 1, 2], [3, 4, 5]]
Tensor table() { return arange(6).view({2, 3}); }

void says(const std::string& text, const char* part) {
  INFO(text << " says " << part);
  CHECK(text.find(part) != std::string::npos);
}

TEST_CASE("tensors made of numbers", "[math][create]") {
  CHECK(arange(3).dtype() == DType::kInt64);
  CHECK(values(arange(3)) == Numbers{0, 1, 2});
  CHECK(values(arange(1, 7, 2)) == Numbers{1, 3, 5});
  CHECK(values(arange(3, 0, -1)) == Numbers{3, 2, 1});
  CHECK(arange(0, 1, 0.25).dtype() == DType::kFloat32);
  CHECK(values(arange(0, 1, 0.25)) == Numbers{0, 0.25, 0.5, 0.75});
  CHECK(arange(2, 2).numel() == 0);
  CHECK(values(linspace(0, 1, 5)) == Numbers{0, 0.25, 0.5, 0.75, 1});
  CHECK(values(linspace(2, 3, 1)) == Numbers{2});
  CHECK(linspace(0, 0.1, 7, DType::kFloat64).select(0, -1).item() == 0.1);
  CHECK(values(ones({2})) == Numbers{1, 1});
  CHECK(full_like(table(), 7).dtype() == DType::kInt64);
  CHECK(values(eye(2, 3)) == Numbers{1, 0, 0, 0, 1, 0});
  CHECK(eye(2).shape() == Shape{2, 2});
  CHECK(values(one_hot(Tensor::from(std::vector<int64_t>{2, 0}, {2}), 3)) == Numbers{0, 0, 1, 1, 0, 0});
  CHECK(one_hot(table(), 6, DType::kFloat32).shape() == Shape{2, 3, 6});
  says(error_text<ValueError>([&] { one_hot(table(), 5); }), "id 5 at position [1, 2]");
  says(error_text<ValueError>([&] { arange(0, 3, -1); }), "step -1");
  says(error_text<ValueError>([&] { arange(0, 3, 0); }), "step 0");
}

TEST_CASE("drawn tensors follow their stream", "[math][create]") {
  RandomStream stream(3), again(3);
  const Tensor x = rand({100, 100}, DType::kFloat32, Device::cpu(), stream);
  CHECK(same_values(x, rand({100, 100}, DType::kFloat32, Device::cpu(), again)));
  CHECK(stream.state() == again.state());
  CHECK_FALSE(same_values(x, rand({100, 100}, DType::kFloat32, Device::cpu(), stream)));
  CHECK(min(x).item() >= 0);
  CHECK(max(x).item() < 1);
  // Means of 10,000 draws; their standard errors are 0.003 and 0.01.
  CHECK(std::abs(mean(x).item() - 0.5) < 0.015);
  CHECK(std::abs(var(x).item() - 1.0 / 12) < 0.005);
  const Tensor y = randn({10000}, DType::kFloat64, Device::cpu(), stream);
  CHECK(std::abs(mean(y).item()) < 0.05);
  CHECK(std::abs(var(y).item() - 1) < 0.08);
  CHECK(std::abs(mean(y * y * y * y).item() - 3) < 0.5);
  CHECK(rand({3}, DType::kBFloat16).dtype() == DType::kBFloat16);
  says(error_text<DTypeError>([&] { rand({3}, DType::kInt64); }), "int64");
  // Whatever the number of threads.
  const int before = num_threads();
  set_num_threads(1);
  RandomStream third(3);
  CHECK(same_values(x, rand({100, 100}, DType::kFloat32, Device::cpu(), third)));
  set_num_threads(before);
}

TEST_CASE("tensors are joined and taken apart", "[math][rearrange]") {
  const Tensor x = table();
  CHECK(values(concat({x, x.slice(0, 0, 1)})) == Numbers{0, 1, 2, 3, 4, 5, 0, 1, 2});
  CHECK(concat({x, x}, -1).shape() == Shape{2, 6});
  CHECK(values(stack({x.select(0, 0), x.select(0, 1)}, 1)) == Numbers{0, 3, 1, 4, 2, 5});
  const std::vector<Tensor> columns = split(x, 2, 1);
  REQUIRE(columns.size() == 2);
  CHECK(values(columns[1]) == Numbers{2, 5});
  CHECK(columns[0].storage().get() == x.storage().get());
  CHECK(split(x, {1, 0, 2}, 1)[2].shape() == Shape{2, 2});
  CHECK(chunk(arange(5), 4).size() == 3);  // as torch.chunk
  CHECK(flatten(x).shape() == Shape{6});
  CHECK(flatten(Tensor::zeros({2, 3, 4}), 1).shape() == Shape{2, 12});
  says(error_text<ValueError>([&] { concat(std::vector<Tensor>{}); }), "no parts");
  says(error_text<ShapeError>([&] { concat({x, x.transpose(0, 1)}); }), "[3, 2]");
  says(error_text<DTypeError>([&] { concat({x, x.to(DType::kFloat32)}); }), "float32");
  says(error_text<ShapeError>([&] { split(x, {1, 1}, 1); }), "sum of 3");
}

TEST_CASE("other arrangements", "[math][rearrange]") {
  const Tensor x = table();
  CHECK(values(flip(x)) == Numbers{5, 4, 3, 2, 1, 0});
  CHECK(values(flip(x, 0)) == Numbers{3, 4, 5, 0, 1, 2});
  CHECK(values(flip(x.transpose(0, 1), 1)) == Numbers{3, 0, 4, 1, 5, 2});
  CHECK(values(tile(x.slice(0, 0, 1), {2, 2})) == Numbers{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2});
  CHECK(tile(x, {2, 1, 1}).shape() == Shape{2, 2, 3});
  CHECK(tile(x, {1}).storage().get() != x.storage().get());
  CHECK(values(pad(x, {{1, 0}, {0, 1}}, -1)) == Numbers{-1, -1, -1, -1, 0, 1, 2, -1, 3, 4, 5, -1});
  CHECK(pad(x.to(DType::kBool), {{0, 0}, {1, 1}}).dtype() == DType::kBool);
  CHECK(values(tril(x)) == Numbers{0, 0, 0, 3, 4, 0});
  CHECK(values(triu(x, 1)) == Numbers{0, 1, 2, 0, 0, 5});
  CHECK(values(x.slice(1, 0, 3, 2)) == Numbers{0, 2, 3, 5});
  CHECK(values(x.slice(1, -2, -1)) == Numbers{1, 4});
  CHECK(values(x.select(0, -1)) == Numbers{3, 4, 5});
}

TEST_CASE("products of matrices and sums of products", "[math][linalg]") {
  const Tensor a = random_tensor({2, 3, 4});
  const Tensor b = random_tensor({4, 5}, DType::kFloat64, 2);
  CHECK(matmul(a, b).shape() == Shape{2, 3, 5});
  CHECK(matmul(a, b.select(1, 0)).shape() == Shape{2, 3});
  CHECK(matmul(a.select(0, 0).select(0, 0), b).shape() == Shape{5});
  CHECK(std::abs(matmul(ones({3}), ones({3})).item() - 3) < 1e-6);
  CHECK(max_difference(matmul(a, b), sum(a.unsqueeze(-1) * b, -2)) < 1e-12);
  CHECK(max_difference(einsum("bij,jk->bik", a, b), matmul(a, b)) < 1e-12);
  CHECK(max_difference(einsum("bij,jk->kbi", a, b), matmul(a, b).permute({2, 0, 1})) < 1e-12);
  CHECK(max_difference(einsum("bij,bkj", a, a).view({3, 3}), sum(matmul(a, a.transpose(1, 2)), 0)) < 1e-12);
  CHECK(max_difference(einsum("bij,kl->b", a, b), sum(a, {1, 2}) * sum(b)) < 1e-12);
  CHECK(max_difference(einsum("i,j->ij", b.select(0, 0), b.select(0, 1)),
                       b.select(0, 0).unsqueeze(1) * b.select(0, 1)) < 1e-12);
  says(error_text<ShapeError>([&] { matmul(b, a); }), "5 columns");
  says(error_text<DTypeError>([&] { matmul(table(), table()); }), "int64");
}

}  // namespace
}  // namespace attune
