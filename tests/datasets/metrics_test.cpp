#include "datasets/metrics.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <vector>

#include "framework/error.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using Catch::Approx;
using testing::error_text;

Tensor classes(const std::vector<int64_t>& values) {
  return Tensor::from(values, {static_cast<int64_t>(values.size())});
}

TEST_CASE("confusion matrix: scores by hand", "[datasets][metrics]") {
  ConfusionMatrix matrix;
  matrix.add(classes({1, 1, 1, 0}), classes({1, 1, 0, 1}));
  matrix.add(classes({0, 0}), classes({0, 0}));
  matrix.add(0, 0);
  // tp 2, fn 1, fp 1, tn 3
  CHECK(matrix.total() == 7);
  CHECK(matrix.count(1, 1) == 2);
  CHECK(matrix.count(1, 0) == 1);
  CHECK(matrix.count(0, 1) == 1);
  CHECK(matrix.count(0, 0) == 3);
  CHECK(matrix.accuracy() == Approx(5.0 / 7));
  CHECK(matrix.precision() == Approx(2.0 / 3));
  CHECK(matrix.recall() == Approx(2.0 / 3));
  CHECK(matrix.f1() == Approx(2.0 / 3));
  CHECK(matrix.f1(0) == Approx(0.75));
  matrix.add(1, 0);
  CHECK(matrix.precision() == Approx(2.0 / 3));
  CHECK(matrix.recall() == Approx(0.5));
  CHECK(matrix.f1() == Approx(4.0 / 7));
  matrix.clear();
  CHECK(matrix.total() == 0);
}

TEST_CASE("confusion matrix: several classes, and nothing to divide by", "[datasets][metrics]") {
  ConfusionMatrix matrix(3);
  CHECK(matrix.accuracy() == 0);
  CHECK(matrix.f1(2) == 0);
  matrix.add(classes({0, 1, 2, 2}), classes({0, 1, 1, 2}));
  CHECK(matrix.accuracy() == Approx(0.75));
  CHECK(matrix.precision(1) == Approx(0.5));
  CHECK(matrix.recall(2) == Approx(0.5));
  CHECK(matrix.f1(0) == 1);
}

TEST_CASE("confusion matrix: errors", "[datasets][metrics]") {
  CHECK(error_text<ValueError>([] { ConfusionMatrix matrix(1); }) ==
        "confusion matrix: 1 classes given, expected at least 2");
  ConfusionMatrix matrix;
  CHECK(error_text<ValueError>([&] { matrix.add(2, 0); }) == "confusion matrix: true class is 2, expected 0 to 1");
  CHECK(error_text<ValueError>([&] { matrix.add(0, -1); }) ==
        "confusion matrix: predicted class is -1, expected 0 to 1");
  CHECK(error_text<ShapeError>([&] {
          matrix.add(classes({0}), classes({0, 1}));
        }) == "confusion matrix: labels [1] and predicted [2], expected both [B]");
  CHECK_THROWS_AS(matrix.add(classes({0}), Tensor::zeros({1})), DTypeError);
}

TEST_CASE("mean", "[datasets][metrics]") {
  Mean mean;
  CHECK(mean.value() == 0);
  mean.add(1);
  mean.add(4, 2);
  CHECK(mean.value() == Approx(3));
}

}  // namespace
}  // namespace attune
