// Numbers whose size hides what matters about them: large logits, large means, classes that cannot occur.

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "autograd/ops/batch_norm.h"
#include "autograd/ops/ops.h"
#include "framework/kernels/top_k.h"
#include "tests/support/tensors.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr float kNo = -std::numeric_limits<float>::infinity();
const double kLarge[] = {1, 1e3, 1e4, 1e6, 1e8, -1e4, -1e6};

/// offset + multiples of 1/16 in -8 ... 8, of which float32 holds every one where the offset is at most 1e6.
Tensor logits_around(double offset, int64_t rows, int64_t classes) {
  RandomStream stream(5);
  std::vector<float> x(static_cast<size_t>(rows * classes));
  for (float& v : x)
    v = static_cast<float>(offset) + static_cast<float>(static_cast<int>(stream.below(257)) - 128) / 16;
  return Tensor::from(x, {rows, classes});
}

struct Loss {
  double value;
  std::vector<Tensor> gradients;
};

/// Loss and gradients of x [rows, 10] in float32, or in float64 of the same numbers.
Loss loss_of(const Tensor& logits, const Tensor& targets, const CrossEntropyOptions& options, bool of_head,
             DType dtype) {
  const Variable x(logits.to(dtype).clone(), true);
  Variable eye, bias;
  if (of_head) {
    Tensor one = Tensor::zeros({logits.dim(1), logits.dim(1)}, DType::kFloat32);
    for (int64_t i = 0; i < logits.dim(1); ++i) one.data<float>()[i * (logits.dim(1) + 1)] = 1;
    eye = Variable(one.to(dtype).clone(), true);
    bias = Variable(Tensor::zeros({logits.dim(1)}, dtype), true);
  }
  const Variable loss =
      of_head ? linear_cross_entropy(x, eye, bias, targets, options) : cross_entropy(x, targets, options);
  loss.backward();
  Loss out{loss.item(), {x.grad()}};
  if (of_head) out.gradients.push_back(bias.grad());
  return out;
}

double relative_error(const Tensor& got, const Tensor& wanted) {
  double largest = 0;
  for (const double v : values(wanted)) largest = std::max(largest, std::abs(v));
  return max_difference(got.to(DType::kFloat64), wanted.to(DType::kFloat64)) / largest;
}

}  // namespace

TEST_CASE("losses of large logits are as precise as those of small ones", "[large_numbers][loss]") {
  const Tensor targets = Tensor::from<int64_t>({3, 0, 9, 7, 3, 0, 9, 7}, {8});
  for (const double offset : kLarge) {
    if (std::abs(offset) > 1e6) continue;
    const Tensor logits = logits_around(offset, 8, 10);
    for (const CrossEntropyOptions& options :
         {CrossEntropyOptions{}, CrossEntropyOptions{.reduction = Reduction::kSum},
          CrossEntropyOptions{.label_smoothing = 0.1}, CrossEntropyOptions{.ignore_index = 7},
          CrossEntropyOptions{.r_drop = 3}, CrossEntropyOptions{.label_smoothing = 0.1, .r_drop = 1}}) {
      for (const bool of_head : {false, true}) {
        const Loss got = loss_of(logits, targets, options, of_head, DType::kFloat32);
        const Loss wanted = loss_of(logits, targets, options, of_head, DType::kFloat64);
        CHECK(got.value == Catch::Approx(wanted.value).epsilon(1e-6));
        for (size_t i = 0; i < got.gradients.size(); ++i) {
          CHECK(relative_error(got.gradients[i], wanted.gradients[i]) < 1e-6);
        }
      }
    }
    CHECK(relative_error(log_softmax(Variable(logits)).value(),
                         log_softmax(Variable(logits.to(DType::kFloat64))).value()) < 1e-6);
  }
}

TEST_CASE("two equal logits cost log 2, however large", "[large_numbers][loss]") {
  for (const double v : kLarge) {
    const Variable x(Tensor::full({1, 2}, v), true);
    const Variable loss = cross_entropy(x, Tensor::from<int64_t>({1}, {1}));
    CHECK(loss.item() == Catch::Approx(std::log(2)).epsilon(1e-6));
    loss.backward();
    CHECK(x.grad().to_vector<float>() == std::vector<float>{0.5f, -0.5f});
    CHECK(log_softmax(x).value().to_vector<float>()[0] == Catch::Approx(-std::log(2)).epsilon(1e-6));
    Tensor sum = Tensor::empty({1}, DType::kFloat64);
    kernels::log_sum_exp(x.value(), 1, sum);
    CHECK(sum.item() - static_cast<double>(x.value().to_vector<float>()[0]) ==
          Catch::Approx(std::log(2)).epsilon(1e-6));
  }
}

TEST_CASE("R-Drop: a class that neither draw can take adds nothing", "[large_numbers][loss]") {
  const Tensor targets = Tensor::from<int64_t>({2, 2}, {2});
  const Tensor with = Tensor::from<float>({kNo, 0, 1, 0.5f, kNo, 0.25f, 1, 0.5f}, {2, 4});
  const Tensor without = Tensor::from<float>({0, 1, 0.5f, 0.25f, 1, 0.5f}, {2, 3});
  const Tensor less = Tensor::from<int64_t>({1, 1}, {2});
  const Loss got = loss_of(with, targets, {.r_drop = 3}, false, DType::kFloat32);
  const Loss wanted = loss_of(without, less, {.r_drop = 3}, false, DType::kFloat64);
  CHECK(got.value == Catch::Approx(0.713721628).epsilon(1e-6));
  CHECK(got.value == Catch::Approx(wanted.value).epsilon(1e-6));
  const std::vector<double> dx = values(got.gradients[0]), right = values(wanted.gradients[0]);
  CHECK(dx[0] == 0);
  CHECK(dx[4] == 0);
  for (size_t row : {0, 1}) {
    for (size_t i = 0; i < 3; ++i) CHECK(dx[row * 4 + 1 + i] == Catch::Approx(right[row * 3 + i]).epsilon(1e-5));
  }
  // As a bias of the head.
  const Variable x(Tensor::from<float>({0, 1, 0.5f, 0.25f, 1, 0.5f}, {2, 3}), true);
  const Variable w(Tensor::from<float>({0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}, {4, 3}), true);
  const Variable b(Tensor::from<float>({kNo, 0, 0, 0}, {4}), true);
  const Variable loss = linear_cross_entropy(x, w, b, targets, {.r_drop = 3});
  CHECK(loss.item() == Catch::Approx(0.713721628).epsilon(1e-6));
  loss.backward();
  for (const Variable* p : {&x, &w, &b}) {
    for (const double v : values(p->grad())) CHECK(std::isfinite(v));
  }
  CHECK(b.grad().to_vector<float>()[0] == 0);
  // In one draw alone it is infinitely far from the other.
  const Tensor one = Tensor::from<float>({kNo, 0, 1, 0, 0, 1}, {2, 3});
  CHECK(std::isinf(cross_entropy(Variable(one), targets, {.r_drop = 3}).item()));
}

TEST_CASE("the slope of gelu_tanh is 0 or 1 far from 0", "[large_numbers]") {
  const float far[] = {20, 1e3f, 1e10f, 1.8e19f, 2e19f, 1e30f, 3e38f, std::numeric_limits<float>::infinity()};
  for (const float at : far) {
    const Variable x(Tensor::from<float>({at, -at, at, -at, at, -at, at, -at, at}, {9, 1}), true);
    const auto slopes_are_right = [&] {
      const std::vector<float> slopes = x.grad().to_vector<float>();
      for (size_t i = 0; i < slopes.size(); ++i) CHECK(slopes[i] == (i % 2 == 0 ? 1 : 0));
      Variable again = x;
      again.zero_grad();
    };
    gelu_tanh(x).backward(Tensor::full({9, 1}, 1));
    slopes_are_right();
    linear(x, Variable(Tensor::full({1, 1}, 1)), {}, Activation::kGeluTanh).backward(Tensor::full({9, 1}, 1));
    slopes_are_right();
  }
  const Variable x(Tensor::full({1}, std::numeric_limits<double>::quiet_NaN()), true);
  gelu_tanh(x).backward();
  CHECK(std::isnan(x.grad().item()));
}

TEST_CASE("norms of numbers with a large mean", "[large_numbers][norm]") {
  RandomStream stream(7);
  for (const double offset : {0.0, 1e4, 40000.0, 1e6, 1e7}) {
    for (const int64_t rows : {2, 3, 65, 4096}) {
      constexpr int64_t kWidth = 6;
      std::vector<float> x(static_cast<size_t>(rows * kWidth));
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(offset) + static_cast<float>(stream.below(4));
      for (size_t i = 0; i < kWidth; ++i) x[i] = static_cast<float>(offset) + static_cast<float>(i % 2) * 4;
      const Tensor in = Tensor::from(x, {rows, kWidth}), dy = random_tensor({rows, kWidth}, DType::kFloat32);
      struct Norms {
        Tensor batch, batch_dx, batch_dgain, layer, layer_dx, layer_dgain, variance;
      };
      const auto norms = [&](DType dtype) {
        const auto one = [&](double v) { return Variable(Tensor::full({kWidth}, v, dtype), true); };
        const Variable a(in.to(dtype).clone(), true), b(in.to(dtype).clone(), true), gain = one(1.5), other = one(1.5);
        const BatchNormResult batch = batch_norm(a, gain, one(0.25), 1e-5);
        batch.output.backward(dy.to(dtype));
        const Variable layer = layer_norm(b, other, one(0.25), 1e-5);
        layer.backward(dy.to(dtype));
        return Norms{batch.output.value(), a.grad(),      gain.grad(), layer.value(), b.grad(),
                     other.grad(),         batch.variance};
      };
      const Norms got = norms(DType::kFloat32), wanted = norms(DType::kFloat64);
      CHECK(relative_error(got.batch, wanted.batch) < 2e-6);
      // Of two rows it is next to nothing: all of dy cancels.
      if (rows > 2) CHECK(relative_error(got.batch_dx, wanted.batch_dx) < 1e-5);
      CHECK(relative_error(got.batch_dgain, wanted.batch_dgain) < 1e-5);
      CHECK(relative_error(got.variance, wanted.variance) < 1e-6);
      CHECK(relative_error(got.layer, wanted.layer) < 2e-6);
      CHECK(relative_error(got.layer_dx, wanted.layer_dx) < 1e-5);
      CHECK(relative_error(got.layer_dgain, wanted.layer_dgain) < 1e-5);
    }
  }
}

TEST_CASE("norms of numbers whose squares float32 cannot hold", "[large_numbers][norm]") {
  const auto one = [](int64_t n, double v) { return Variable(Tensor::full({n}, v)); };
  const Variable x(Tensor::from<float>({1e30f, -1e30f, -1e30f, 1e30f}, {2, 2}));
  const std::vector<float> signs{1, -1, -1, 1};
  CHECK(batch_norm(x, one(2, 1), one(2, 0), 1e-5).output.value().to_vector<float>() == signs);
  CHECK(layer_norm(x, one(2, 1), one(2, 0)).value().to_vector<float>() == signs);
  CHECK(rms_norm(x, one(2, 1)).value().to_vector<float>() == signs);
  const std::vector<float> small =
      batch_norm(Variable(Tensor::from<float>({1e6f, 1e6f + 1}, {2, 1})), one(1, 1), one(1, 0), 1e-12)
          .output.value()
          .to_vector<float>();
  CHECK(small == std::vector<float>{-1, 1});
}
