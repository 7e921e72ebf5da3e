// Ops give what the functions on tensors of the same name give.

#include <catch2/catch_test_macros.hpp>

#include "autograd/ops/ops.h"
#include "framework/math/arithmetic.h"
#include "framework/math/compare.h"
#include "framework/math/index.h"
#include "framework/math/linalg.h"
#include "framework/math/reduce.h"
#include "tests/support/tensors.h"

namespace attune::testing {
namespace {

template <class F>
void agrees(const char* what, const Tensor& x, const F& f) {
  INFO(what);
  CHECK(max_difference(f(Variable(x)).value(), f(x)) <= 1e-14);
}

TEST_CASE("Variables give what Tensors give", "[ops][math]") {
  const Tensor x = random_tensor({2, 3, 4});
  const Tensor positive = abs(x) + 0.5;
  agrees("1 - x", x, [](const auto& v) { return 1 - v; });
  agrees("x / 2", x, [](const auto& v) { return v / 2; });
  agrees("2 / x", x, [](const auto& v) { return 2 / v; });
  agrees("pow", positive, [](const auto& v) { return pow(v, 1.5); });
  agrees("pow of both", positive, [](const auto& v) { return pow(v, v); });
  agrees("expm1", x, [](const auto& v) { return expm1(v); });
  agrees("log1p", positive, [](const auto& v) { return log1p(v); });
  agrees("rsqrt", positive, [](const auto& v) { return rsqrt(v); });
  agrees("erf", x, [](const auto& v) { return erf(v); });
  for (const bool keep : {false, true}) {
    for (const Axes& axes : {Axes(), Axes(1), Axes({0, -1})}) {
      agrees("sum", x, [&](const auto& v) { return sum(v, axes, keep); });
      agrees("mean", x, [&](const auto& v) { return mean(v, axes, keep); });
      agrees("prod", x, [&](const auto& v) { return prod(v, axes, keep); });
      agrees("max", x, [&](const auto& v) { return max(v, axes, keep); });
      agrees("min", x, [&](const auto& v) { return min(v, axes, keep); });
      agrees("var", x, [&](const auto& v) { return var(v, axes, keep); });
      agrees("stddev", x, [&](const auto& v) { return stddev(v, axes, keep, 0); });
      agrees("norm", x, [&](const auto& v) { return norm(v, axes, keep); });
      agrees("logsumexp", x, [&](const auto& v) { return logsumexp(v, axes, keep); });
    }
  }
  agrees("cumsum", x, [](const auto& v) { return cumsum(v, 1); });
  agrees("flatten", x, [](const auto& v) { return flatten(v, 1); });
  agrees("split", x, [](const auto& v) { return split(v, {1, 3}, 2)[1]; });
  agrees("chunk", x, [](const auto& v) { return chunk(v, 2, 1)[1]; });
  agrees("flip", x, [](const auto& v) { return flip(v, {0, 2}); });
  agrees("tile", x, [](const auto& v) { return tile(v, {2, 1, 3}); });
  agrees("pad", x, [](const auto& v) { return pad(v, {{1, 0}, {0, 2}, {0, 0}}, 0.5); });
  agrees("tril", x, [](const auto& v) { return tril(v, 1); });
  agrees("triu", x, [](const auto& v) { return triu(v); });
  agrees("einsum", x, [](const auto& v) { return einsum("bij,bkj->kbi", v, v); });
  const Tensor places = Tensor::from(std::vector<int64_t>{-1, 0, -1}, {3});
  agrees("index_select", x, [&](const auto& v) { return index_select(v, 1, places); });
  const Tensor along = places.view({1, 3, 1}).expand({2, 3, 4});
  agrees("gather", x, [&](const auto& v) { return gather(v, 1, along); });
  agrees("scatter", x, [&](const auto& v) { return scatter(v, 1, along, v); });
  agrees("scatter_add", x, [&](const auto& v) { return scatter_add(v, 1, along, v); });
}

}  // namespace
}  // namespace attune::testing
