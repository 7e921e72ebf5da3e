// Gradients that are sums over a million rows, beside float64: float32 sums of that many terms, one after the other,
// are off by a per cent.

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "autograd/ops/attention.h"
#include "autograd/ops/batch_norm.h"
#include "autograd/ops/conv.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/recurrent.h"
#include "framework/device.h"
#include "framework/kernels/index.h"
#include "framework/kernels/linear.h"
#include "framework/kernels/norm.h"
#include "framework/kernels/reduce.h"
#include "tests/support/tensors.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr int64_t kRows = 1'000'000;
constexpr double kExact = 0.1f;  // what 0.1 is in float32

Variable parameter(const Shape& shape, double value, DType dtype) {
  return Variable(Tensor::full(shape, value, dtype), true);
}

/// Alternately low and high, so that they have a variance: [rows, width].
Tensor alternating(int64_t rows, int64_t width, DType dtype) {
  std::vector<float> x(static_cast<size_t>(rows * width));
  for (size_t i = 0; i < x.size(); ++i) x[i] = i / static_cast<size_t>(width) % 2 != 0 ? 1.1f : -0.9f;
  return Tensor::from(x, {rows, width}).to(dtype);
}

/// Largest error of gradients in float32 beside those in float64, relative to the largest of each.
double worst_error(const std::function<std::vector<Tensor>(DType)>& gradients) {
  const std::vector<Tensor> got = gradients(DType::kFloat32), wanted = gradients(DType::kFloat64);
  REQUIRE(got.size() == wanted.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    double largest = 0;
    for (const double v : values(wanted[i])) largest = std::max(largest, std::abs(v));
    REQUIRE(largest > 0);
    worst = std::max(worst, max_difference(got[i].to(DType::kFloat64), wanted[i]) / largest);
  }
  return worst;
}

constexpr double kTolerance = 1e-5;

}  // namespace

TEST_CASE("sums over a million rows: linear", "[long_sums][release]") {
  for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu}) {
    CHECK(worst_error([&](DType dtype) {
            const Variable x(Tensor::full({kRows, 1}, 1, dtype)), w = parameter({3, 1}, 0.5, dtype),
                                                                  b = parameter({3}, 0, dtype);
            linear(x, w, b, activation).backward(Tensor::full({kRows, 3}, kExact, dtype));
            return std::vector{w.grad(), b.grad()};
          }) < kTolerance);
  }
  const Variable b = parameter({2}, 0, DType::kFloat32);
  linear(Variable(Tensor::full({kRows, 1}, 1)), Variable(Tensor::zeros({2, 1})), b)
      .backward(Tensor::full({kRows, 2}, 0.1));
  CHECK(std::abs(b.grad().to_vector<float>()[1] / (kRows * kExact) - 1) < kTolerance);
}

TEST_CASE("sums over a million rows: a bias of the head of linear_cross_entropy", "[long_sums][release]") {
  std::vector<int64_t> targets(kRows);
  for (size_t i = 0; i < targets.size(); ++i) targets[i] = static_cast<int64_t>(i % 3);
  CHECK(worst_error([&](DType dtype) {
          const Variable x(Tensor::full({kRows, 1}, 1, dtype)), w = parameter({4, 1}, 0.5, dtype),
                                                                b = parameter({4}, 0.25, dtype);
          linear_cross_entropy(x, w, b, Tensor::from(targets, {kRows}), {.reduction = Reduction::kSum}).backward();
          return std::vector{w.grad(), b.grad()};
        }) < kTolerance);
}

TEST_CASE("sums over a million rows: norms", "[long_sums][release]") {
  CHECK(worst_error([](DType dtype) {
          const Variable gain = parameter({2}, 1, dtype), shift = parameter({2}, 0, dtype);
          batch_norm(Variable(alternating(kRows, 2, dtype)), gain, shift, 1e-5)
              .output.backward(alternating(kRows, 2, dtype));
          return std::vector{gain.grad(), shift.grad()};
        }) < kTolerance);
  CHECK(worst_error([](DType dtype) {
          const Variable gain = parameter({3}, 1, dtype), shift = parameter({3}, 0, dtype);
          const Variable x(alternating(3 * kRows, 1, dtype).view({kRows, 3}));
          layer_norm(x, gain, shift).backward(Tensor::full({kRows, 3}, kExact, dtype));
          return std::vector{shift.grad()};
        }) < kTolerance);
  CHECK(worst_error([](DType dtype) {
          const Variable gain = parameter({3}, 1, dtype), shift = parameter({3}, 0, dtype),
                         scale = parameter({3}, 1, dtype);
          const Variable x(Tensor::from<float>({0.5f, 1, 3}, {1, 3}).to(dtype).expand({kRows, 3}).contiguous());
          layer_norm(x, gain, shift).backward(Tensor::full({kRows, 3}, kExact, dtype));
          rms_norm(x, scale).backward(Tensor::full({kRows, 3}, kExact, dtype));
          return std::vector{gain.grad(), shift.grad(), scale.grad()};
        }) < kTolerance);
}

TEST_CASE("sums over a million rows: embedding, index_select, gather", "[long_sums][release]") {
  std::vector<int64_t> ids(kRows);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = i % 10 == 9 ? static_cast<int64_t>(i % 7) : 3;
  const Tensor indices = Tensor::from(ids, {kRows});
  CHECK(worst_error([&](DType dtype) {
          const Variable table = parameter({300, 2}, 1, dtype);
          embedding(table, indices, 6, 0.5).backward(Tensor::full({kRows, 2}, kExact, dtype));
          return std::vector{table.grad()};
        }) < kTolerance);
  CHECK(worst_error([&](DType dtype) {
          const Variable table = parameter({2, 7, 1}, 1, dtype);
          index_select(table, 1, indices).backward(Tensor::full({2, kRows, 1}, kExact, dtype));
          return std::vector{table.grad()};
        }) < kTolerance);
  CHECK(worst_error([&](DType dtype) {
          const Variable table = parameter({7, 1}, 1, dtype);
          gather(table, 0, indices.view({kRows, 1})).backward(Tensor::full({kRows, 1}, kExact, dtype));
          return std::vector{table.grad()};
        }) < kTolerance);
}

TEST_CASE("rows of one index are added in their order, however many there are", "[long_sums][kernels]") {
  RandomStream stream(3);
  for (const int64_t table : {5, 70'000}) {
    for (const int64_t count : {1, 100, 129, 1000}) {
      std::vector<int64_t> ids(static_cast<size_t>(count));
      for (int64_t& id : ids) id = stream.below(2) == 0 ? table - 1 : static_cast<int64_t>(stream.below(5));
      const Tensor dy = stream.normal({1, count, 19}, 0, 1, DType::kFloat64);
      std::vector<double> wanted(static_cast<size_t>(table * 19), 0.5);
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t j = 0; j < 19 && ids[static_cast<size_t>(i)] != 2; ++j) {
          wanted[static_cast<size_t>(ids[static_cast<size_t>(i)] * 19 + j)] += 2 * dy.data<double>()[i * 19 + j];
        }
      }
      Tensor dx = Tensor::full({1, table, 19}, 0.5, DType::kFloat64);
      kernels::add_rows(dy, Tensor::from(ids, {count}), 2, 2, dx);
      CHECK(max_difference(dx, Tensor::from(wanted, dx.shape())) < 1e-12);
    }
  }
}

TEST_CASE("sums over a million rows: convolution", "[long_sums][release]") {
  for (const int64_t window : {1, 3, 5}) {
    CHECK(worst_error([&](DType dtype) {
            const Variable x(Tensor::full({1, 1000, 1000, 2}, 1, dtype));
            const Variable w = parameter({2, 2, window, window}, 0.5, dtype), b = parameter({2}, 0, dtype);
            const Variable y = conv2d(x, w, b, {.padding = kSamePadding});
            y.backward(Tensor::full(y.shape(), kExact, dtype));
            return std::vector{w.grad(), b.grad()};
          }) < kTolerance);
  }
}

TEST_CASE("sums over a million rows: broadcast operands and products", "[long_sums][release]") {
  CHECK(
      worst_error([](DType dtype) {
        const Variable b = parameter({2}, 1, dtype), scale = parameter({1}, 1, dtype), x = parameter({1, 2}, 1, dtype);
        const Variable wide = expand(x, {kRows, 2});
        mul(add(wide, b), scale).backward(Tensor::full({kRows, 2}, kExact, dtype));
        return std::vector{b.grad(), scale.grad(), x.grad()};
      }) < kTolerance);
  CHECK(worst_error([](DType dtype) {
          const Variable a(Tensor::full({2, kRows, 2}, 1, dtype)), b = parameter({2, 2, 3}, 1, dtype);
          matmul(a, b).backward(Tensor::full({2, kRows, 3}, kExact, dtype));
          return std::vector{b.grad()};
        }) < kTolerance);
}

TEST_CASE("sums over a million rows: attention", "[long_sums][release]") {
  CHECK(worst_error([](DType dtype) {
          const Variable q(Tensor::full({1, 1, 1000, 2}, 0.25, dtype)), k(Tensor::full({1, 1, 1000, 2}, 0.5, dtype)),
              v = parameter({1, 2}, 1, dtype);
          additive_scores(q, k, v).backward(Tensor::full({1, 1, 1000, 1000}, kExact, dtype));
          return std::vector{v.grad()};
        }) < kTolerance);
  CHECK(worst_error([](DType dtype) {
          const Variable q(Tensor::full({1, kRows / 4, 1, 4}, 1, dtype)), k = parameter({1, 2, 1, 4}, 0.5, dtype),
                                                                          v = parameter({1, 2, 1, 4}, 1, dtype);
          attention(q, k, v).output.backward(Tensor::full({1, kRows / 4, 1, 4}, kExact, dtype));
          return std::vector{v.grad()};
        }) < kTolerance);
  CHECK(worst_error([](DType dtype) {
          const Variable weights(Tensor::full({1, 1, kRows, 1}, 1, dtype)), v = parameter({1, 1, 1, 2}, 1, dtype);
          weighted_sum(weights, v).backward(Tensor::full({1, kRows, 1, 2}, kExact, dtype));
          return std::vector{v.grad()};
        }) < kTolerance);
}

TEST_CASE("sums over many rows: recurrent biases", "[long_sums][release]") {
  for (const bool is_lstm : {false, true}) {
    const int64_t steps = is_lstm ? 50 : 1, samples = kRows / 4 / steps;
    CHECK(worst_error([&](DType dtype) {
            const int64_t gates = is_lstm ? 4 : 3;
            const RecurrentParameters p{parameter({gates, 1}, 0.5, dtype), parameter({gates, 1}, 0.25, dtype),
                                        parameter({gates}, 0.1f, dtype), parameter({gates}, 0.2f, dtype)};
            const Variable x(Tensor::full({samples, steps, 1}, 1, dtype));
            const RecurrentResult y = is_lstm ? lstm(x, {}, {}, {&p, 1}) : gru(x, {}, {&p, 1});
            y.output.backward(Tensor::full(y.output.shape(), kExact, dtype));
            return std::vector{p.bias_ih.grad(), p.bias_hh.grad(), p.weight_ih.grad()};
          }) < kTolerance);
  }
}

TEST_CASE("sums of 2^25 ones are exact", "[long_sums][kernels]") {
  constexpr int64_t kMany = int64_t{1} << 25;
  const Tensor ones = Tensor::full({kMany, 1}, 1);
  Tensor none, total = Tensor::zeros({1});
  kernels::linear_backward(ones, none, none, Activation::kNone, DropoutSpec(), none, total, false);
  CHECK(total.item() == kMany);
  kernels::sum_to(ones, total);
  CHECK(total.item() == kMany);
}

TEST_CASE("sums of 2^25 rows of 0.1", "[long_sums][kernels]") {
  constexpr int64_t kMany = int64_t{1} << 24;  // of two columns
  const Tensor x = Tensor::full({kMany, 2}, 0.1);
  Tensor none, total = Tensor::zeros({2}), line = Tensor::zeros({1, 2});
  kernels::linear_backward(x, none, none, Activation::kNone, DropoutSpec(), none, total, false);
  kernels::sum_to(x, line);
  for (const float sum : {total.to_vector<float>()[1], line.to_vector<float>()[1]}) {
    CHECK(std::abs(sum / (static_cast<double>(kMany) * kExact) - 1) < kTolerance);
  }
}

TEST_CASE("long sums are the same in every run and next to the same for every number of threads",
          "[long_sums][release]") {
  const int threads = num_threads();
  std::vector<Tensor> found;
  for (const int n : {1, 2, 3, 3}) {
    set_num_threads(n);
    const Variable b = parameter({5}, 0, DType::kFloat32);
    linear(Variable(Tensor::full({kRows / 5, 1}, 1)), Variable(Tensor::zeros({5, 1})), b)
        .backward(random_tensor({kRows / 5, 5}, DType::kFloat32));
    found.push_back(b.grad());
  }
  set_num_threads(threads);
  CHECK(same_values(found[2], found[3]));
  double largest = 0;
  for (const double v : values(found[2])) largest = std::max(largest, std::abs(v));
  for (size_t i : {0, 1}) CHECK(max_difference(found[i], found[2]) < 1e-6 * largest);
}
