#include "autograd/optim/schedule.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <cmath>
#include <numbers>

#include "framework/error.h"

namespace attune {
namespace {

using Catch::Matchers::WithinRel;

TEST_CASE("learning rates follow their formulas", "[optim]") {
  CHECK(ConstantSchedule{.rate = 0.3}.at(12345) == 0.3);

  // Vaswani et al., 2017: rate = D^-0.5 min(n^-0.5, n warmup^-1.5), n counted from 1.
  const double width = 512;
  const InverseSquareRootSchedule noam{.peak = 1 / std::sqrt(width * 4000), .warmup = 4000};
  for (const int64_t step : {0, 1, 1999, 3998, 3999, 4000, 100000}) {
    const auto n = static_cast<double>(step + 1);
    CHECK_THAT(noam.at(step),
               WithinRel(std::min(1 / std::sqrt(n), n * std::pow(4000, -1.5)) / std::sqrt(width), 1e-12));
  }
  CHECK(InverseSquareRootSchedule{.peak = 2, .warmup = 0}.at(0) == 2);

  const CosineSchedule cosine{.peak = 1, .final = 0.1, .warmup = 10, .total = 110};
  CHECK_THAT(cosine.at(0), WithinRel(0.1, 1e-12));
  CHECK_THAT(cosine.at(9), WithinRel(1.0, 1e-12));
  CHECK_THAT(cosine.at(10), WithinRel(1.0, 1e-12));
  CHECK_THAT(cosine.at(35), WithinRel(0.1 + 0.45 * (1 + std::cos(std::numbers::pi / 4)), 1e-12));
  CHECK_THAT(cosine.at(60), WithinRel(0.55, 1e-12));
  CHECK(cosine.at(110) == 0.1);
  CHECK(cosine.at(1000) == 0.1);
  CHECK(CosineSchedule{.peak = 1, .warmup = 5, .total = 5}.at(5) == 0);

  const StepSchedule steps{.initial = 1, .every = 30, .factor = 0.5};
  CHECK(steps.at(29) == 1);
  CHECK(steps.at(30) == 0.5);
  CHECK(steps.at(95) == 0.125);
  CHECK_THROWS_AS(StepSchedule{.every = 0}.at(1), ValueError);
}

TEST_CASE("the rate falls when a metric stops improving", "[optim]") {
  ReduceOnPlateau schedule({.initial = 1, .factor = 0.5, .patience = 2, .cooldown = 1, .minimum = 0.2});
  const auto observe = [&](double metric) {
    schedule.observe(metric);
    return schedule.at(0);
  };
  CHECK(observe(10) == 1);
  CHECK(observe(9) == 1);
  CHECK(observe(8.9999) == 1);  // within the threshold: no progress, 1
  CHECK(observe(9) == 1);       // 2
  CHECK(observe(std::nan("")) == 0.5);
  ReduceOnPlateau cooling({.initial = 7, .factor = 0.5, .patience = 2, .cooldown = 1});
  cooling.load_state(schedule.state());
  for (int i = 0; i < 3; ++i) cooling.observe(9);
  CHECK(cooling.at(0) == 0.5);
  CHECK(observe(9) == 0.5);  // cools down
  CHECK(observe(9) == 0.5);
  CHECK(observe(9) == 0.5);

  ReduceOnPlateau copy({.initial = 7, .factor = 0.5, .patience = 2, .cooldown = 1, .minimum = 0.2});
  copy.load_state(schedule.state());
  CHECK(copy.at(0) == 0.5);
  copy.observe(9);
  CHECK(copy.at(0) == 0.25);
  CHECK(observe(9) == 0.25);
  CHECK(observe(5) == 0.25);
  for (int i = 0; i < 3; ++i) observe(6);
  CHECK(schedule.at(0) == 0.2);
}

TEST_CASE("a rate below its minimum is not raised to it", "[optim]") {
  ReduceOnPlateau schedule({.initial = 1e-4, .factor = 0.1, .patience = 0, .minimum = 1e-3});
  for (int i = 0; i < 4; ++i) schedule.observe(1);
  CHECK(schedule.at(0) == 1e-4);
  // The same of a rate that a state brings along.
  ReduceOnPlateau lower({.initial = 1e-5, .patience = 0});
  lower.observe(1);
  ReduceOnPlateau restored({.initial = 1, .factor = 0.5, .patience = 0, .minimum = 0.1});
  restored.load_state(lower.state());
  restored.observe(1);
  CHECK(restored.at(0) == 1e-5);
}

TEST_CASE("a higher metric may be the better one", "[optim]") {
  ReduceOnPlateau schedule({.initial = 1, .factor = 0.1, .patience = 0, .higher_is_better = true});
  schedule.observe(0.5);
  schedule.observe(0.6);
  CHECK(schedule.at(0) == 1);
  schedule.observe(0.6);
  CHECK(schedule.at(0) == 0.1);
  CHECK_THROWS_AS(ReduceOnPlateau({.factor = 1.5}), ValueError);
  CHECK_THROWS_AS(schedule.load_state({}), ShapeError);
}

}  // namespace
}  // namespace attune
