#include "layers/norm.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;

TEST_CASE("LayerNorm and RMSNorm normalise the last axis", "[layers]") {
  LayerNorm norm(5);
  RMSNorm rms(5);
  CHECK(norm.parameter_count() == 10);
  CHECK(rms.parameter_count() == 5);
  CHECK(LayerNorm(5, {.bias = false}).parameter_count() == 5);
  const Variable x(random_tensor({4, 5}, DType::kFloat32));
  const Tensor y = norm(x).value();
  const Tensor z = rms(x).value();
  for (int64_t row = 0; row < 4; ++row) {
    double mean = 0, square = 0, rms_square = 0;
    for (double v : values(y.select(0, row))) {
      mean += v / 5;
      square += v * v / 5;
    }
    for (double v : values(z.select(0, row))) rms_square += v * v / 5;
    CHECK(mean == Catch::Approx(0).margin(1e-6));
    CHECK(square == Catch::Approx(1).epsilon(1e-3));
    CHECK(rms_square == Catch::Approx(1).epsilon(1e-3));
  }
}

TEST_CASE("RMSNorm does not subtract the mean", "[layers]") {
  RMSNorm rms(3, 1e-12);
  const Variable x(Tensor::from<float>({1, 2, 2}, {3}));  // mean square 3
  const std::vector<double> y = values(rms(x).value());
  CHECK(y[0] == Catch::Approx(1 / std::sqrt(3.0)));
  CHECK(y[1] == Catch::Approx(2 / std::sqrt(3.0)));
}

TEST_CASE("LayerNorm and RMSNorm have right gradients", "[layers][gradcheck]") {
  LayerNorm norm(5, {.eps = 0.01});
  randomise(norm);
  check_gradients(norm, {random_tensor({2, 3, 5})}, [&](auto in) { return norm(in[0]); });
  LayerNorm no_bias(5, {.bias = false});
  randomise(no_bias);
  check_gradients(no_bias, {random_tensor({3, 5})}, [&](auto in) { return no_bias(in[0]); });
  RMSNorm rms(5, 0.01);
  randomise(rms);
  check_gradients(rms, {random_tensor({2, 3, 5})}, [&](auto in) { return rms(in[0]); });
}

TEST_CASE("norms name themselves and both widths in errors", "[layers][errors]") {
  struct Model : Module {
    LayerNorm& norm = child<LayerNorm>("norm", 3);
    RMSNorm& rms = child<RMSNorm>("rms", 3);
  } model;
  const Variable x(Tensor::zeros({2, 4}));
  CHECK(error_text<ShapeError>([&] { model.norm(x); }) == "norm: input is [2, 4], expected [..., 3]");
  CHECK(error_text<ShapeError>([&] { model.rms(x); }) == "rms: input is [2, 4], expected [..., 3]");
  CHECK_THROWS_AS(LayerNorm(0), ValueError);
  CHECK_THROWS_AS(LayerNorm(3, {.eps = 0}), ValueError);
  CHECK_THROWS_AS(RMSNorm(3, 0), ValueError);
}
