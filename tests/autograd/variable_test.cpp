#include "autograd/variable.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <utility>

#include "framework/error.h"
#include "tests/autograd/hand_ops.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using namespace testing;

TEST_CASE("an undefined Variable stands for an operand that is not there", "[variable]") {
  const Variable none;
  CHECK_FALSE(none.defined());
  CHECK_FALSE(none.requires_grad());
  CHECK_FALSE(none.is_leaf());
  CHECK_FALSE(none.grad().defined());
}

TEST_CASE("handles to a leaf share value, gradient and freezing", "[variable]") {
  Variable a(Tensor::full({2, 3}, 2), true);
  const Variable b = a;
  CHECK(a.is_leaf());
  CHECK(b.requires_grad());
  CHECK(b.shape() == Shape{2, 3});
  CHECK(b.dim(-1) == 3);
  hand_sum(a).backward();
  CHECK(b.grad().defined());
  a.set_requires_grad(false);
  CHECK_FALSE(b.requires_grad());
  a.set_requires_grad(true);
  CHECK(b.requires_grad());
  a.leaf()->value.fill_(5);
  CHECK(b.value().to_vector<float>()[5] == 5);
}

TEST_CASE("constants and results of ops", "[variable]") {
  Variable constant(Tensor::full({2}, 2));
  CHECK_FALSE(constant.requires_grad());
  constant.set_requires_grad(true);
  CHECK(constant.is_leaf());
  Variable y = hand_scale(constant, 2);
  CHECK(y.requires_grad());
  CHECK_FALSE(y.is_leaf());
  CHECK_FALSE(y.grad().defined());
  CHECK_THROWS_MATCHES(y.set_requires_grad(false), ValueError, MessageMatches(ContainsSubstring("detach")));
  CHECK_FALSE(y.detach().requires_grad());
  CHECK(y.detach().value().raw() == y.value().raw());
  Tape::current().clear();
}

TEST_CASE("only floating types can require a gradient", "[variable]") {
  CHECK_NOTHROW(Variable(Tensor::zeros({2}, DType::kInt64)));
  CHECK_THROWS_MATCHES(Variable(Tensor::zeros({2}, DType::kInt64), true), DTypeError,
                       MessageMatches(ContainsSubstring("int64")));
}

TEST_CASE("item() reads a single element", "[variable]") {
  CHECK(Variable(Tensor::full({1, 1}, 2.5)).item() == 2.5);
  CHECK_THROWS_AS(Variable(Tensor::full({2}, 1)).item(), ShapeError);
}

TEST_CASE("a saved tensor notices changes through any view", "[variable]") {
  Tensor x = Tensor::full({4}, 1);
  const SavedTensor saved(x);
  CHECK(saved.get().raw() == std::as_const(x).raw());
  x.slice(0, 1, 2).zero_();
  CHECK_THROWS_MATCHES(saved.get(), ValueError,
                       MessageMatches(ContainsSubstring("float32 [4]") && ContainsSubstring("changed in place")));
  CHECK_FALSE(SavedTensor().defined());
}

}  // namespace
}  // namespace attune
