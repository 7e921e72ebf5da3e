#include "layers/transformer/positional.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;

TEST_CASE("sinusoidal positions are the paper's", "[layers]") {
  for (int64_t dim : {6, 5}) {
    SinusoidalPositions positions(dim, 50);
    positions.to(DType::kFloat64);
    CHECK(positions.parameter_count() == 0);
    CHECK(positions.state_dict().empty());
    const int64_t offset = 10;
    const std::vector<double> table =
        values(positions(Variable(Tensor::zeros({1, 40, dim}, DType::kFloat64)), offset).value());
    for (int64_t t = 0; t < 40; ++t) {
      for (int64_t i = 0; i < dim; ++i) {
        const int64_t pair = i / 2;
        const double angle = static_cast<double>(t + offset) /
                             std::pow(10000, 2.0 * static_cast<double>(pair) / static_cast<double>(dim));
        const double expected = i % 2 == 0 ? std::sin(angle) : std::cos(angle);
        CHECK(std::abs(table[static_cast<size_t>(t * dim + i)] - expected) < 1e-6);
      }
    }
  }
}

TEST_CASE("positions are added, the same for every sample, and pass gradients on", "[layers][gradcheck]") {
  LearnedPositions learned(4, 6);
  const Variable x(random_tensor({2, 3, 4}, DType::kFloat32));
  const Tensor table = learned.state_dict()[0].second;
  const std::vector<double> y = values(learned(x, 2).value());
  const std::vector<double> in = values(x.value());
  const std::vector<double> rows = values(table.slice(0, 2, 5));
  for (size_t i = 0; i < y.size(); ++i) CHECK(y[i] == Catch::Approx(in[i] + rows[i % 12]));
  check_gradients(learned, {random_tensor({2, 3, 4})}, [&](auto in_) { return learned(in_[0], 1); });
  SinusoidalPositions sinusoidal(4, 6);
  check_gradients(sinusoidal, {random_tensor({2, 3, 4})}, [&](auto in_) { return sinusoidal(in_[0]); });
}

TEST_CASE("positions beyond max_length are an error that says so", "[layers][errors]") {
  struct Model : Module {
    LearnedPositions& learned = child<LearnedPositions>("learned", 4, 6);
    SinusoidalPositions& sinusoidal = child<SinusoidalPositions>("sinusoidal", 4, 6);
  } model;
  const Variable x(Tensor::zeros({2, 7, 4}));
  CHECK(error_text<ShapeError>([&] { model.learned(x); }) ==
        "learned: positions 0 ... 6 asked for, expected 0 ... 5 (max_length 6)");
  CHECK(error_text<ShapeError>([&] {
          model.sinusoidal(Variable(Tensor::zeros({2, 3, 4})), 4);
        }) == "sinusoidal: positions 4 ... 6 asked for, expected 0 ... 5 (max_length 6)");
  CHECK_THROWS_AS(model.learned(Variable(Tensor::zeros({2, 3, 4})), -1), ShapeError);
  CHECK(error_text<ShapeError>([&] {
          model.learned(Variable(Tensor::zeros({2, 3, 5})));
        }) == "learned: x is [2, 3, 5], expected [B, T, 4]");
  CHECK_THROWS_AS(LearnedPositions(0, 6), ValueError);
  CHECK_THROWS_AS(SinusoidalPositions(4, 0), ValueError);
}
