#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "framework/device.h"
#include "framework/kernels/random.h"
#include "tests/framework/kernels/targets.h"

namespace attune {
namespace {

using testing::for_each_instruction_set;

std::vector<float> dropped(const Tensor& x, RandomState state, double p) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  kernels::dropout(x, state, p, y);
  return y.to(DType::kFloat32).to_vector<float>();
}

TEST_CASE("dropout keeps the expectation", "[kernels][dropout]") {
  constexpr int64_t kCount = 200000;
  const Tensor ones = Tensor::full({kCount}, 1);
  for (const double p : {0.1, 0.5, 0.9}) {
    int64_t kept = 0;
    for (const float value : dropped(ones, {1, 0}, p)) {
      if (value == 0) continue;
      CHECK(value == static_cast<float>(1 / (1 - p)));
      ++kept;
    }
    const double deviation = std::sqrt(kCount * p * (1 - p));
    CHECK(std::abs(static_cast<double>(kept) - kCount * (1 - p)) < 5 * deviation);
  }
}

TEST_CASE("the mask depends on seed and offset only: not on threads, instruction set, dtype or layout",
          "[kernels][dropout]") {
  const RandomState state{77, 1000};
  const Tensor x = RandomStream(1).uniform({300, 401}, 1, 2).to(DType::kBFloat16).to(DType::kFloat32);
  const std::vector<float> expected = dropped(x, state, 0.3);
  const int before = num_threads();
  for_each_instruction_set([&](const char* target) {
    for (const int threads : {1, 2, 5}) {
      INFO(target << ", " << threads << " threads");
      set_num_threads(threads);
      CHECK(dropped(x, state, 0.3) == expected);
    }
  });
  set_num_threads(before);
  CHECK(dropped(x.transpose(0, 1).clone().transpose(0, 1), state, 0.3) == expected);
  Tensor in_place = x.clone();
  kernels::dropout(in_place, state, 0.3, in_place);
  CHECK(in_place.to_vector<float>() == expected);
  for (const DType dtype : {DType::kFloat64, DType::kBFloat16}) {
    const std::vector<float> other = dropped(x.to(dtype), state, 0.3);
    double worst = 0;
    for (size_t i = 0; i < other.size(); ++i) {
      if ((other[i] == 0) != (expected[i] == 0)) worst = 1;
      worst = std::max<double>(worst, std::abs(other[i] - expected[i]));
    }
    CHECK(worst < (dtype == DType::kBFloat16 ? 0.01 : 1e-6));
  }
  CHECK(dropped(x, {78, 1000}, 0.3) != expected);
  CHECK(dropped(x, {77, 1016}, 0.3) != expected);
}

TEST_CASE("what is dropped is 0, NaN or not", "[kernels][dropout]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for_each_instruction_set([&](const char* target) {
    INFO(target);
    for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kBFloat16}) {
      int zeros = 0;
      for (const float value : dropped(Tensor::full({1000}, nan, dtype), {3, 0}, 0.5)) {
        CHECK((value == 0 || std::isnan(value)));
        zeros += value == 0;
      }
      CHECK(zeros > 400);
    }
  });
}

}  // namespace
}  // namespace attune
