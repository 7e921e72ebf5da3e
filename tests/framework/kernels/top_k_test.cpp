#include "framework/kernels/top_k.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "framework/random.h"

using namespace attune;

TEST_CASE("top_k is the head of a stable sort", "[kernels]") {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  RandomStream stream(3);
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    for (const int64_t n : {1, 7, 63, 64, 65, 200, 1003}) {
      for (const bool equals : {false, true}) {
        std::vector<double> x(static_cast<size_t>(3 * n));
        for (double& value : x) value = equals ? std::floor(stream.uniform() * 5) : stream.normal();
        x[x.size() - 1] = 9;  // found in the rest behind the vectors
        x[0] = kNan;
        x[static_cast<size_t>(n)] = std::numeric_limits<double>::infinity();
        x[static_cast<size_t>(n + n / 2)] = x[static_cast<size_t>(2 * n - 1)] =
            kNan;  // above infinity, the first first
        const Tensor in = Tensor::from(x, {3, n}).to(dtype);
        const std::vector<double> rounded = in.to(DType::kFloat64).to_vector<double>();
        for (const int64_t k : {int64_t{1}, int64_t{6}, n}) {
          if (k > n) continue;
          Tensor values = Tensor::empty({3, k}, dtype);
          Tensor indices = Tensor::empty({3, k}, DType::kInt64);
          kernels::top_k(in, values, indices);
          std::vector<int64_t> expected;
          for (int64_t r = 0; r < 3; ++r) {
            const auto value = [&](int64_t j) { return rounded[static_cast<size_t>(r * n + j)]; };
            const auto above = [](double a, double b) { return a > b || (std::isnan(a) && !std::isnan(b)); };
            std::vector<int64_t> order(static_cast<size_t>(n));
            std::iota(order.begin(), order.end(), 0);
            std::stable_sort(order.begin(), order.end(),
                             [&](int64_t a, int64_t b) { return above(value(a), value(b)); });
            for (int64_t j = 0; j < k; ++j) {
              expected.push_back(order[static_cast<size_t>(j)]);
              const double got = values.select(0, r).select(0, j).item();
              const double wanted = value(order[static_cast<size_t>(j)]);
              CHECK((got == wanted || (std::isnan(got) && std::isnan(wanted))));
            }
          }
          CHECK(indices.to_vector<int64_t>() == expected);
        }
      }
    }
  }
}

TEST_CASE("log_sum_exp with a scale", "[kernels]") {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  RandomStream stream(4);
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    for (const int64_t n : {1, 5, 1000}) {
      const Tensor x = stream.normal({2, n}, 300, 20, dtype);
      for (const double scale : {1.0, 0.25}) {
        Tensor y = Tensor::empty({2}, dtype);
        kernels::log_sum_exp(x, scale, y);
        const std::vector<double> in = x.to(DType::kFloat64).to_vector<double>();
        for (int64_t r = 0; r < 2; ++r) {
          double total = 0;
          for (int64_t j = 0; j < n; ++j) total += std::exp(scale * (in[static_cast<size_t>(r * n + j)] - 300));
          const double expected = scale * 300 + std::log(total);
          CHECK(std::abs(y.select(0, r).item() / expected - 1) < (dtype == DType::kFloat32 ? 1e-6 : 1e-13));
        }
      }
    }
    for (const double bad : {kInfinity, std::numeric_limits<double>::quiet_NaN()}) {
      for (const int64_t at : {0, 40, 99}) {
        Tensor x = Tensor::zeros({1, 100}, dtype);
        x.slice(1, at, at + 1).fill_(bad);
        Tensor y = Tensor::empty({1}, dtype);
        kernels::log_sum_exp(x, 1, y);
        CHECK(std::isnan(y.item()));
      }
    }
    Tensor y = Tensor::empty({2}, dtype);
    Tensor x = Tensor::full({2, 33}, -kInfinity, dtype);
    x.select(0, 1).slice(0, 7, 8).fill_(2);
    kernels::log_sum_exp(x, 1, y);
    CHECK(std::isnan(y.select(0, 0).item()));
    CHECK(y.select(0, 1).item() == 2);
  }
}
