#include "framework/kernels/reduce.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "framework/device.h"
#include "framework/kernels/fold.h"
#include "framework/random.h"
#include "tests/framework/kernels/targets.h"

namespace attune {
namespace {

using testing::for_each_instruction_set;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Sums in long double, element by element.
std::vector<double> reference(const Tensor& x, const Shape& reduced) {
  const Tensor from = x.to(DType::kFloat64).contiguous();
  std::vector<long double> sums(static_cast<size_t>(reduced.numel()));
  const Strides strides = contiguous_strides(reduced);
  for (int64_t i = 0; i < from.numel(); ++i) {
    int64_t rest = i;
    int64_t at = 0;
    for (int axis = x.rank() - 1; axis >= 0; --axis) {
      const int64_t index = rest % x.shape()[axis];
      rest /= x.shape()[axis];
      if (reduced[axis] != 1) at += index * strides[axis];
    }
    sums[static_cast<size_t>(at)] += static_cast<long double>(from.data<double>()[i]);
  }
  return {sums.begin(), sums.end()};
}

TEST_CASE("sums over any axes of any layout are right", "[kernels][reduce]") {
  RandomStream stream(3);
  const auto check = [&](const Tensor& x, const Shape& reduced, double tolerance) {
    INFO(x.to_string() << " to " << reduced.to_string() << ", " << num_threads() << " threads");
    Tensor y = Tensor::full(reduced, kNan, x.dtype());
    kernels::sum_to(x, y);
    const std::vector<double> expected = reference(x, reduced);
    const std::vector<double> got = y.to(DType::kFloat64).to_vector<double>();
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      worst = std::max(worst, std::isnan(got[i]) ? 1e9 : std::abs(got[i] - expected[i]));
    }
    CHECK(worst <= tolerance);
  };
  const int before = num_threads();
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    for (const Shape& shape : {Shape{3, 4, 5}, Shape{2, 3, 2, 3, 2}, Shape{300, 70}, Shape{70, 300}, Shape{3, 9000},
                               Shape{9000, 3}, Shape{40, 50, 60}, Shape{100000}, Shape{2, 30000, 2}, Shape{9000, 70}}) {
      const Tensor x = stream.uniform(shape, -1, 1);
      for (unsigned axes = 0; axes < 1u << shape.rank(); ++axes) {
        Shape reduced = shape;
        for (int axis = 0; axis < shape.rank(); ++axis) {
          if ((axes >> axis & 1u) != 0) reduced[axis] = 1;
        }
        check(x, reduced, 1e-4);
        check(x.to(DType::kFloat64), reduced, 1e-11);
      }
    }
    const Tensor x = stream.uniform({30, 40, 20}, -1, 1);
    check(x.permute({2, 0, 1}), {20, 1, 40}, 1e-4);
    check(x.slice(1, 3, 39), {1, 36, 1}, 1e-4);
    check(x.select(0, 1).unsqueeze(0).expand({7, 40, 20}), {1, 40, 20}, 1e-4);
    check(x.to(DType::kBFloat16), {1, 40, 1}, 0.2);
  }
  set_num_threads(before);
}

TEST_CASE("leading axes that the result lacks are summed", "[kernels][reduce]") {
  const Tensor x = Tensor::full({2, 3, 4}, 1);
  Tensor y = Tensor::empty({3, 1});
  kernels::sum_to(x, y);
  CHECK(y.to_vector<float>() == std::vector<float>(3, 8.0f));
  Tensor total = Tensor::empty({});
  kernels::sum_to(x, total);
  CHECK(total.item() == 24);
  Tensor none = Tensor::full({4}, kNan);
  kernels::sum_to(Tensor::zeros({0, 4}), none);
  CHECK(none.to_vector<float>() == std::vector<float>(4, 0.0f));
}

TEST_CASE("long float32 sums keep their digits, on every instruction set", "[kernels][reduce]") {
  const int64_t n = 3'000'000;
  const Tensor x = Tensor::full({n}, 0.1);
  const double exact = static_cast<double>(n) * static_cast<double>(0.1f);
  for_each_instruction_set([&](const char* target) {
    INFO(target);
    Tensor total = Tensor::empty({1});
    kernels::sum_to(x, total);
    CHECK(std::abs(total.item() / exact - 1) < 1e-6);
    Tensor columns = Tensor::empty({1, 3});
    kernels::sum_to(x.view({n / 3, 3}), columns);
    for (const float sum : columns.to_vector<float>()) CHECK(std::abs(sum / (exact / 3) - 1) < 5e-6);
  });
}

TEST_CASE("sums are the same in every run with as many threads", "[kernels][reduce]") {
  const Tensor x = RandomStream(4).normal({1000, 333}, 0, 1);
  for (const Shape& reduced : {Shape{1, 333}, Shape{1000, 1}, Shape{1, 1}}) {
    Tensor first = Tensor::empty(reduced);
    kernels::sum_to(x, first);
    for (int repeat = 0; repeat < 5; ++repeat) {
      Tensor again = Tensor::empty(reduced);
      kernels::sum_to(x, again);
      CHECK(again.to_vector<float>() == first.to_vector<float>());
    }
  }
}

TEST_CASE("the largest element is the first of equals; NaN counts as largest", "[kernels][reduce]") {
  const Tensor x = Tensor::from(std::vector<float>{1, 5, 5, 2, 7, kNan, 9, kNan, -3, -1, -2, -1}, {3, 4, 1});
  Tensor y = Tensor::empty({3, 1, 1});
  Tensor index = Tensor::empty({3, 1, 1}, DType::kInt64);
  kernels::max(x, y, index);
  CHECK(index.to_vector<int64_t>() == std::vector<int64_t>{1, 1, 1});
  CHECK(y.data<float>()[0] == 5);
  CHECK(std::isnan(y.data<float>()[1]));
  CHECK(y.data<float>()[2] == -1);
  const Tensor wide = RandomStream(5).normal({7, 50, 90}, 0, 1);
  Tensor largest = Tensor::empty({7, 1, 90});
  Tensor at = Tensor::empty({7, 1, 90}, DType::kInt64);
  kernels::max(wide, largest, at);
  int wrong = 0;
  for (int64_t o = 0; o < 7; ++o) {
    for (int64_t i = 0; i < 90; ++i) {
      const std::vector<float> column = wide.select(0, o).select(1, i).to_vector<float>();
      const auto best = std::max_element(column.begin(), column.end());
      wrong += at.data<int64_t>()[o * 90 + i] != best - column.begin() || largest.data<float>()[o * 90 + i] != *best;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("masked means see nothing behind the length", "[kernels][reduce]") {
  Tensor x = RandomStream(6).uniform({3, 5, 70}, 0, 1);
  const Tensor lengths = Tensor::from(std::vector<int64_t>{2, 0, 5}, {3});
  x.select(0, 0).slice(0, 2, 5).fill_(kNan);
  x.select(0, 1).fill_(kNan);
  Tensor y = Tensor::empty({3, 70});
  kernels::masked_mean(x, lengths, y);
  Tensor mean = Tensor::empty({1, 70});
  kernels::sum_to(x.select(0, 0).slice(0, 0, 2), mean);
  for (int64_t c = 0; c < 70; ++c) {
    CHECK(std::abs(y.data<float>()[c] - mean.data<float>()[c] / 2) < 1e-6f);
    CHECK(y.data<float>()[70 + c] == 0);
    CHECK(y.data<float>()[140 + c] > 0);
  }
  Tensor dx = Tensor::full({3, 5, 70}, kNan);
  kernels::masked_mean_backward(Tensor::full({3, 70}, 1), lengths, dx);
  for (int64_t b = 0; b < 3; ++b) {
    for (int64_t t = 0; t < 5; ++t) {
      const int64_t length = lengths.data<int64_t>()[b];
      CHECK(dx.data<float>()[(b * 5 + t) * 70 + 69] == (t < length ? 1.0f / static_cast<float>(length) : 0.0f));
    }
  }
}

}  // namespace
}  // namespace attune
