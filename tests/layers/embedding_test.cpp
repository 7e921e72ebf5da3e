#include "layers/embedding.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "autograd/ops/ops.h"
#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;

namespace {
const Tensor kIds = Tensor::from<int64_t>({1, 0, 4, 4, 2, 0}, {2, 3});
}

TEST_CASE("Embedding looks rows up; the padding row is zero and gets no gradient", "[layers]") {
  Embedding layer(5, 4, {.padding_index = 0});
  const Tensor weight = layer.weight().value();
  CHECK(all_zero(weight.select(0, 0)));
  CHECK_FALSE(all_zero(weight.select(0, 1)));
  const Variable y = layer(kIds);
  CHECK(y.shape() == Shape{2, 3, 4});
  CHECK(same_values(y.value().select(0, 0).select(0, 2), weight.select(0, 4)));
  CHECK(all_zero(y.value().select(0, 0).select(0, 1)));
  sum(y).backward();
  const Tensor gradient = layer.weight().grad();
  CHECK(all_zero(gradient.select(0, 0)));
  CHECK(all_zero(gradient.select(0, 3)));
  CHECK(values(gradient.select(0, 4)) == std::vector<double>{2, 2, 2, 2});
}

TEST_CASE("Embedding with scale gives variance 1", "[layers]") {
  for (bool scale : {false, true}) {
    Embedding layer(400, 64, {.scale = scale});
    std::vector<int64_t> ids(400);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i);
    double square = 0;
    for (double v : values(layer(Tensor::from(ids, {400})).value())) square += v * v / (400 * 64);
    CHECK(square == Catch::Approx(1).epsilon(0.05));
    square = 0;
    for (double v : values(layer.weight().value())) square += v * v / (400 * 64);
    CHECK(square == Catch::Approx(scale ? 1 / 64.0 : 1).epsilon(0.05));
  }
}

TEST_CASE("Embedding has right gradients", "[layers][gradcheck]") {
  Embedding layer(5, 4, {.scale = true});
  check_gradients(layer, {}, [&](auto) { return layer(kIds); });
}

TEST_CASE("Embedding refuses bad ids and options", "[layers][errors]") {
  Embedding layer(5, 4);
  CHECK_THROWS_AS(layer(Tensor::from<int64_t>({5}, {1})), ValueError);
  CHECK_THROWS_AS(layer(Tensor::from<int64_t>({-1}, {1})), ValueError);
  CHECK(error_text<ValueError>([] { Embedding(5, 4, {.padding_index = 5}); }).find("padding index 5") !=
        std::string::npos);
  CHECK_THROWS_AS(Embedding(0, 4), ValueError);
}
