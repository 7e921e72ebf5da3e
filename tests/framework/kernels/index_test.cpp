#include "framework/kernels/index.h"

#include <catch2/catch_test_macros.hpp>

#include "framework/device.h"
#include "framework/random.h"
#include "tests/framework/kernels/targets.h"

namespace attune {
namespace {

using testing::for_each_instruction_set;

Tensor draw_indices(int64_t n, uint64_t bound, uint64_t seed) {
  RandomStream stream(seed);
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < n; ++i) indices.push_back(static_cast<int64_t>(stream.below(bound)));
  return Tensor::from(indices, {n});
}

// Rows of small whole numbers, whose sums are exact in every order.
Tensor whole(const Shape& shape, uint64_t seed) {
  return RandomStream(seed).uniform(shape, -9, 9).to(DType::kInt64).to(DType::kFloat32);
}

TEST_CASE("rows are taken and added by index, on every instruction set and number of threads", "[kernels][index]") {
  const int before = num_threads();
  for_each_instruction_set([](const char* target) {
    for (const int threads : {1, 2, 7}) {
      set_num_threads(threads);
      for (const int64_t inner : {1, 3, 16, 70, 128}) {
        INFO(target << ", " << threads << " threads, rows of " << inner);
        constexpr int64_t kRows = 50, kTaken = 2000, kOuter = 2;
        const Tensor x = whole({kOuter, kRows, inner}, 1);
        const Tensor indices = draw_indices(kTaken, kRows, 2);
        Tensor y = Tensor::empty({kOuter, kTaken, inner});
        kernels::take_rows(x, indices, 2, y);
        const Tensor dy = whole({kOuter, kTaken, inner}, 3);
        Tensor dx = Tensor::full({kOuter, kRows, inner}, 1);
        kernels::add_rows(dy, indices, 3, 7, dx);

        std::vector<float> expected(static_cast<size_t>(dx.numel()), 1.0f);
        int64_t wrong = 0;
        for (int64_t o = 0; o < kOuter; ++o) {
          for (int64_t i = 0; i < kTaken; ++i) {
            const int64_t row = indices.data<int64_t>()[i];
            for (int64_t k = 0; k < inner; ++k) {
              const int64_t at = (o * kTaken + i) * inner + k;
              const int64_t from = (o * kRows + row) * inner + k;
              wrong += y.data<float>()[at] != 2 * x.data<float>()[from];
              if (row != 7) expected[static_cast<size_t>(from)] += 3 * dy.data<float>()[at];
            }
          }
        }
        CHECK(wrong == 0);
        CHECK(dx.to_vector<float>() == expected);
      }
    }
  });
  set_num_threads(before);
}

TEST_CASE("added rows are bitwise the same whatever the number of threads", "[kernels][index]") {
  const int before = num_threads();
  const Tensor dy = RandomStream(5).normal({1, 3000, 128}, 0, 1);
  const Tensor indices = draw_indices(3000, 20, 6);
  std::vector<float> first;
  for (const int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    Tensor dx = Tensor::zeros({1, 20, 128});
    kernels::add_rows(dy, indices, 0.3, -1, dx);
    if (first.empty()) first = dx.to_vector<float>();
    CHECK(dx.to_vector<float>() == first);
  }
  set_num_threads(before);
}

TEST_CASE("elements are taken and added along an axis", "[kernels][index]") {
  const Tensor x = whole({3, 40, 50}, 7);
  const Tensor indices = draw_indices(3 * 60 * 50, 40, 8).view({3, 60, 50});
  Tensor y = Tensor::empty({3, 60, 50});
  kernels::take_along(x.permute({0, 1, 2}), indices, y);
  Tensor dx = Tensor::zeros({3, 40, 50});
  kernels::add_along(y, indices, dx);
  std::vector<float> expected(static_cast<size_t>(dx.numel()));
  int64_t wrong = 0;
  for (int64_t at = 0; at < y.numel(); ++at) {
    const int64_t from = (at / 3000 * 40 + indices.data<int64_t>()[at]) * 50 + at % 50;
    wrong += y.data<float>()[at] != x.data<float>()[from];
    expected[static_cast<size_t>(from)] += x.data<float>()[from];
  }
  CHECK(wrong == 0);
  CHECK(dx.to_vector<float>() == expected);
}

TEST_CASE("the first index outside is found", "[kernels][index]") {
  int64_t position = 0;
  const auto find = [&](std::vector<int64_t> indices, int64_t bound) {
    const auto n = static_cast<int64_t>(indices.size());
    kernels::find_outside(Tensor::from(indices, {n}), bound, position);
    return position;
  };
  CHECK(find({0, 1, 2}, 3) == -1);
  CHECK(find({0, 3, 9}, 3) == 1);
  CHECK(find({0, 1, -1}, 3) == 2);
  CHECK(find({}, 0) == -1);
  CHECK(find({0}, 0) == 0);
}

}  // namespace
}  // namespace attune
