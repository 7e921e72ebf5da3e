#include "layers/pooling.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>

#include "autograd/ops/ops.h"
#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;

namespace {
const Tensor kLengths = Tensor::from<int64_t>({4, 1, 0}, {3});
}

TEST_CASE("mean pooling counts real tokens only", "[layers]") {
  MeanPooling pool;
  const Tensor x = random_tensor({3, 4, 2});
  const Tensor y = pool(Variable(x), kLengths).value();
  CHECK(max_difference(y.select(0, 0), mean(Variable(x.select(0, 0)), {0}).value()) < 1e-15);
  CHECK(same_values(y.select(0, 1), x.select(0, 1).select(0, 0)));
  CHECK(all_zero(y.select(0, 2)));
  CHECK(max_difference(pool(Variable(x)).value(), mean(Variable(x), {1}).value()) == 0);
  check_gradients(pool, {x}, [&](auto in) { return pool(in[0], kLengths); });
}

TEST_CASE("first pooling takes position 0", "[layers]") {
  FirstPooling pool;
  const Tensor x = random_tensor({3, 4, 2});
  CHECK(same_values(pool(Variable(x)).value(), x.select(1, 0)));
  check_gradients(pool, {x}, [&](auto in) { return pool(in[0]); });
  CHECK_THROWS_AS(pool(Variable(Tensor::zeros({3, 0, 2}))), ShapeError);
  CHECK(error_text<ShapeError>([&] {
          pool(Variable(Tensor::zeros({3, 2})));
        }) == "FirstPooling: x is [3, 2], expected [B, S, D]");
}

TEST_CASE("attention pooling is softmax(q x / sqrt(K)) x per head", "[layers]") {
  const int64_t heads = 2, width = 3;
  AttentionPooling pool(6, {.heads = heads});
  randomise(pool);
  pool.to(DType::kFloat64);
  const Tensor x = random_tensor({3, 4, 6});
  const AttentionResult result = pool(Variable(x), AttentionMask::padding(kLengths), true);
  REQUIRE(result.output.shape() == Shape{3, 6});
  REQUIRE(result.weights.shape() == Shape{3, heads, 4});
  const std::vector<double> query = values(pool.state_dict()[0].second);
  const std::vector<double> in = values(x);
  for (int64_t b = 0; b < 3; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      double total = 0;
      std::vector<double> e(4, 0);
      for (int64_t s = 0; s < kLengths.data<int64_t>()[b]; ++s) {
        double score = 0;
        for (int64_t k = 0; k < width; ++k) {
          score += query[static_cast<size_t>(h * width + k)] * in[static_cast<size_t>((b * 4 + s) * 6 + h * width + k)];
        }
        e[static_cast<size_t>(s)] = std::exp(score / std::sqrt(static_cast<double>(width)));
        total += e[static_cast<size_t>(s)];
      }
      for (int64_t s = 0; s < 4; ++s) {
        const double expected = total == 0 ? 0 : e[static_cast<size_t>(s)] / total;
        CHECK(std::abs(result.weights.value().select(0, b).select(0, h).select(0, s).item() - expected) < 1e-12);
      }
      for (int64_t k = 0; k < width; ++k) {
        double expected = 0;
        for (int64_t s = 0; s < 4 && total > 0; ++s) {
          expected += e[static_cast<size_t>(s)] / total * in[static_cast<size_t>((b * 4 + s) * 6 + h * width + k)];
        }
        CHECK(std::abs(result.output.value().select(0, b).select(0, h * width + k).item() - expected) < 1e-12);
      }
    }
  }
  check_gradients(pool, {x}, [&](auto in_) { return pool(in_[0], AttentionMask::padding(kLengths)).output; });
}

TEST_CASE("attention pooling begins as the mean over real tokens", "[layers]") {
  AttentionPooling pool(4);
  const Variable x(random_tensor({3, 4, 4}, DType::kFloat32));
  CHECK(max_difference(pool(x, AttentionMask::padding(kLengths)).output.value(), MeanPooling()(x, kLengths).value()) <
        1e-6);
}

TEST_CASE("NaN in padding reaches no pooling and no gradient", "[layers]") {
  AttentionPooling pool(4);
  randomise(pool);
  Tensor x = random_tensor({3, 4, 4}, DType::kFloat32);
  const auto run = [&](bool attention) {
    const Variable in(x.clone(), true);
    pool.zero_grad();
    const Variable y = attention ? pool(in, AttentionMask::padding(kLengths)).output : MeanPooling()(in, kLengths);
    sum(square(y)).backward();
    return std::vector<Tensor>{y.value(), in.grad(), attention ? pool.parameters()[0].grad().clone() : y.value()};
  };
  for (bool attention : {false, true}) {
    const std::vector<Tensor> clean = run(attention);
    const Tensor kept = x.clone();
    x.select(0, 1).slice(0, 1, 4).fill_(std::numeric_limits<double>::quiet_NaN());
    x.select(0, 2).fill_(std::numeric_limits<double>::infinity());
    const std::vector<Tensor> dirty = run(attention);
    for (size_t i = 0; i < clean.size(); ++i) CHECK(same_values(clean[i], dirty[i]));
    CHECK(all_zero(dirty[1].select(0, 1).slice(0, 1, 4)));
    x = kept;
  }
}

TEST_CASE("attention pooling names itself in errors", "[layers][errors]") {
  CHECK_THROWS_AS(AttentionPooling(6, {.heads = 4}), ValueError);
  AttentionPooling pool(6);
  CHECK(error_text<ShapeError>([&] {
          pool(Variable(Tensor::zeros({3, 2, 4})));
        }) == "AttentionPooling: x is [3, 2, 4], expected [B, S, 6]");
}
