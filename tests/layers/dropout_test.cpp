#include "layers/dropout.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include "autograd/ops/ops.h"
#include "framework/error.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;

TEST_CASE("Dropout zeroes a share p and keeps the expectation", "[layers]") {
  Dropout layer(0.3);
  const Variable x(Tensor::full({100, 1000}, 1), true);
  const Variable y = layer(x);
  double zeros = 0;
  double total = 0;
  int other = 0;
  for (double v : values(y.value())) {
    zeros += v == 0;
    total += v;
    other += v != 0 && v != Catch::Approx(1 / 0.7);
  }
  CHECK(other == 0);
  CHECK(zeros / 1e5 == Catch::Approx(0.3).margin(0.01));
  CHECK(total / 1e5 == Catch::Approx(1).margin(0.02));
  sum(y).backward();
  CHECK(same_values(x.grad(), y.value()));  // the same elements, scaled alike
}

TEST_CASE("Dropout does nothing in evaluation or with p = 0", "[layers]") {
  const Variable x(random_tensor({5, 5}));
  const RandomState before = default_stream().state();
  CHECK(same_values(Dropout(0)(x).value(), x.value()));
  Dropout layer(0.5);
  layer.eval();
  CHECK(same_values(layer(x).value(), x.value()));
  CHECK(default_stream().state() == before);
  CHECK_THROWS_AS(Dropout(1), ValueError);
  CHECK_THROWS_AS(Dropout(-0.5), ValueError);
}
