#include "layers/pool2d.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>

#include "autograd/ops/ops.h"
#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Tensor picture(const std::vector<double>& pixels, int64_t height, int64_t width) {
  return Tensor::from(pixels, {1, height, width, 1});
}

}  // namespace

TEST_CASE("max pooling takes the largest; padding is none, NaN is", "[layers][pool]") {
  const Tensor x = picture({-1, -2, -3, -4, -5, -6, -7, -8, -9}, 3, 3);
  CHECK(values(MaxPool2d(2, {.stride = 1})(Variable(x)).value()) == std::vector<double>{-1, -2, -4, -5});
  CHECK(values(MaxPool2d(2)(Variable(x)).value()) == std::vector<double>{-1});
  CHECK(values(MaxPool2d(2, {.padding = 1})(Variable(x)).value()) == std::vector<double>{-1, -2, -4, -5});
  CHECK(values(MaxPool2d({1, 3})(Variable(x)).value()) == std::vector<double>{-1, -4, -7});

  const Variable y = MaxPool2d({1, 2}, {.stride = 1})(Variable(picture({1, kNan, 3, 5}, 1, 4)));
  const std::vector<double> found = values(y.value());
  CHECK(std::isnan(found[0]));
  CHECK(std::isnan(found[1]));
  CHECK(found[2] == 5);
}

TEST_CASE("max pooling gives the gradient to the first of equals, and adds where windows overlap", "[layers][pool]") {
  const Variable x(picture({7, 7, 1, 7}, 1, 4), true);
  const Variable y = max_pool2d(x, {1, 2}, {.stride = 1});
  y.backward(picture({1, 10, 100}, 1, 3));
  CHECK(values(x.grad()) == std::vector<double>{1, 10, 0, 100});
  const Variable broken(picture({kNan, 1, kNan}, 1, 3), true);
  max_pool2d(broken, {1, 3}).backward(picture({2}, 1, 1));
  CHECK(values(broken.grad()) == std::vector<double>{2, 0, 0});
}

TEST_CASE("average pooling divides by the window or by what lies inside", "[layers][pool]") {
  const Variable x(picture({1, 2, 3, 4}, 2, 2));
  CHECK(values(AveragePool2d(2)(x).value()) == std::vector<double>{2.5});
  CHECK(values(AveragePool2d(2, {.padding = 1})(x).value()) == std::vector<double>{0.25, 0.5, 0.75, 1});
  CHECK(values(AveragePool2d(2, {.padding = 1, .count_padding = false})(x).value()) == std::vector<double>{1, 2, 3, 4});
}

TEST_CASE("adaptive pooling covers the picture whatever its size", "[layers][pool]") {
  const Variable x(picture({1, 2, 3, 4, 5}, 1, 5));
  // Windows 0 ... 1, 1 ... 3, 3 ... 4.
  CHECK(values(AdaptiveAveragePool2d({1, 3})(x).value()) == std::vector<double>{1.5, 3, 4.5});
  CHECK(values(AdaptiveAveragePool2d({1, 5})(x).value()) == values(x.value()));
  CHECK(max_difference(AdaptiveAveragePool2d(1)(x).value(), mean(x, {1, 2}, true).value()) < 1e-15);
  const Variable wide(random_tensor({3, 6, 4, 20}));
  CHECK(max_difference(AdaptiveAveragePool2d({3, 2})(wide).value(), AveragePool2d(2)(wide).value()) < 1e-15);
}

TEST_CASE("pooling refuses windows that do not fit", "[layers][pool][errors]") {
  const Variable x(Tensor::zeros({1, 3, 3, 1}));
  CHECK(error_text<ShapeError>([&] { MaxPool2d(4)(x); }) ==
        "max_pool2d: the window of 4 is larger than the height of 3 with padding 0");
  CHECK_THROWS_AS(AveragePool2d(2, {.padding = 2})(x), ValueError);
  CHECK_THROWS_AS(AdaptiveAveragePool2d(0)(x), ShapeError);
}
