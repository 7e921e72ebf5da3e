#include "layers/batch_norm.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "autograd/ops/batch_norm.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;
using Catch::Approx;

namespace {

struct Moments {
  double mean, variance;  // biased
};

/// Of the values of one channel, a number per row of [rows, C].
Moments moments(const std::vector<double>& rows, size_t channel, size_t channels) {
  Moments m{0, 0};
  const auto count = static_cast<double>(rows.size() / channels);
  for (size_t i = channel; i < rows.size(); i += channels) m.mean += rows[i] / count;
  for (size_t i = channel; i < rows.size(); i += channels) m.variance += std::pow(rows[i] - m.mean, 2) / count;
  return m;
}

}  // namespace

TEST_CASE("BatchNorm2d normalises by the batch in training and moves its running statistics", "[layers][batch_norm]") {
  BatchNorm2d norm(3, {.eps = 1e-6, .momentum = 0.2});
  norm.to(DType::kFloat64);
  const Tensor x = random_tensor({4, 5, 7, 3});
  const std::vector<double> y = values(norm(Variable(x)).value());
  const std::vector<double> mean = values(norm.running_mean().value());
  const std::vector<double> variance = values(norm.running_var().value());
  for (size_t c = 0; c < 3; ++c) {
    const Moments in = moments(values(x), c, 3);
    const Moments out = moments(y, c, 3);
    CHECK(out.mean == Approx(0).margin(1e-12));
    CHECK(out.variance == Approx(in.variance / (in.variance + 1e-6)));
    CHECK(mean[c] == Approx(0.2 * in.mean));
    CHECK(variance[c] == Approx(0.8 + 0.2 * in.variance * 140 / 139));
  }
  Tape::current().clear();
}

TEST_CASE("BatchNorm2d trains in bfloat16", "[layers][batch_norm]") {
  BatchNorm2d wide(3), narrow(3);
  narrow.to(DType::kBFloat16);
  const Tensor x = random_tensor({2, 3, 3, 3}, DType::kBFloat16);
  const Tensor expected = wide(Variable(x.to(DType::kFloat32))).value();
  CHECK(max_difference(narrow(Variable(x)).value(), expected) < 0.02);
  CHECK(narrow.running_var().dtype() == DType::kBFloat16);
  CHECK(max_difference(narrow.running_var().value(), wide.running_var().value()) < 0.01);
  Tape::current().clear();
}

TEST_CASE("batch statistics do not lose digits far from zero", "[layers][batch_norm]") {
  const Tensor x = random_tensor({5000, 5}, DType::kFloat32);
  const Variable far = Variable(x) + 1000;
  const Variable one(Tensor::full({5}, 1)), zero(Tensor::zeros({5}));
  const BatchNormResult result = batch_norm(far, one, zero);
  for (size_t c = 0; c < 5; ++c) {
    const Moments expected = moments(values(far.value()), c, 5);
    CHECK(values(result.mean)[c] == Approx(expected.mean).epsilon(1e-6));
    CHECK(values(result.variance)[c] == Approx(expected.variance).epsilon(1e-4));
  }
}

TEST_CASE("BatchNorm2d uses and keeps its running statistics in evaluation", "[layers][batch_norm]") {
  BatchNorm2d norm(2, {.eps = 1e-3});
  randomise(norm);
  norm.to(DType::kFloat64);
  const Tensor x = random_tensor({3, 2, 2, 2});
  norm(Variable(x));
  Tape::current().clear();
  norm.eval();
  const std::vector<double> mean = values(norm.running_mean().value());
  const std::vector<double> variance = values(norm.running_var().value());
  const std::vector<double> weight = values(norm.parameters()[0].value());
  const std::vector<double> bias = values(norm.parameters()[1].value());
  const Variable alone(x.slice(0, 1, 2));
  const std::vector<double> y = values(norm(alone).value());
  const std::vector<double> in = values(alone.value());
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t c = i % 2;
    CHECK(y[i] == Approx((in[i] - mean[c]) / std::sqrt(variance[c] + 1e-3) * weight[c] + bias[c]));
  }
  CHECK(values(norm.running_mean().value()) == mean);
  check_gradients(norm, {x}, [&](auto v) { return norm(v[0]); });
}

TEST_CASE("norms of pictures have right gradients", "[layers][batch_norm][gradcheck]") {
  BatchNorm2d norm(3, {.eps = 0.01});
  randomise(norm);
  check_gradients(norm, {random_tensor({2, 2, 3, 3})}, [&](auto in) { return norm(in[0]); });
  GroupNorm groups(2, 4, 0.01);
  randomise(groups);
  check_gradients(groups, {random_tensor({2, 3, 2, 4})}, [&](auto in) { return groups(in[0]); });
}

TEST_CASE("running statistics are saved and loaded with the module", "[layers][batch_norm]") {
  BatchNorm2d norm(3);
  norm(Variable(random_tensor({4, 3, 3, 3}, DType::kFloat32)));
  Tape::current().clear();
  BatchNorm2d other(3);
  other.load_state_dict(norm.state_dict());
  CHECK(norm.state_dict().size() == 4);
  CHECK(norm.parameters().size() == 2);
  CHECK(same_values(other.running_mean().value(), norm.running_mean().value()));
  CHECK(same_values(other.running_var().value(), norm.running_var().value()));
  CHECK_FALSE(same_values(norm.running_var().value(), Tensor::full({3}, 1)));
}

TEST_CASE("GroupNorm normalises every sample's groups", "[layers][batch_norm]") {
  GroupNorm norm(2, 6, 1e-9);
  norm.to(DType::kFloat64);
  const Tensor x = random_tensor({3, 4, 5, 6});
  const Tensor y = norm(Variable(x)).value();
  for (int64_t b = 0; b < 3; ++b) {
    for (int64_t g = 0; g < 2; ++g) {
      const Moments out = moments(values(y.select(0, b).slice(2, 3 * g, 3 * g + 3)), 0, 1);
      CHECK(out.mean == Approx(0).margin(1e-12));
      CHECK(out.variance == Approx(1));
    }
  }
  // One group per channel and one for all of them.
  const Tensor flat = random_tensor({4, 6});
  GroupNorm whole(1, 6);
  whole.to(DType::kFloat64);
  const Variable one(Tensor::full({6}, 1, DType::kFloat64));
  CHECK(max_difference(whole(Variable(flat)).value(), layer_norm(Variable(flat), one, {}).value()) < 1e-12);
  CHECK(norm(Variable(Tensor::zeros({0, 2, 2, 6}, DType::kFloat64))).shape() == Shape{0, 2, 2, 6});
  Tape::current().clear();
}

TEST_CASE("norms of pictures name themselves in errors and take empty batches", "[layers][batch_norm][errors]") {
  struct Model : Module {
    BatchNorm2d& norm = child<BatchNorm2d>("norm", 3);
    GroupNorm& groups = child<GroupNorm>("groups", 3, 3);
  } model;
  const auto zeros = [](const Shape& shape) { return Variable(Tensor::zeros(shape)); };
  CHECK(error_text<ShapeError>([&] {
          model.norm(zeros({2, 2, 2, 4}));
        }) == "norm: input is [2, 2, 2, 4], expected [B, H, W, 3]");
  CHECK(error_text<ShapeError>([&] {
          model.norm(zeros({1, 1, 1, 3}));
        }).starts_with("norm: input is [1, 1, 1, 3]: one value per channel"));
  CHECK(error_text<ShapeError>([&] {
          model.groups(zeros({2, 4}));
        }) == "groups: input is [2, 4], expected [B, ..., 3]");
  CHECK(model.norm(zeros({0, 2, 2, 3})).shape() == Shape{0, 2, 2, 3});
  CHECK(same_values(model.norm.running_var().value(), Tensor::full({3}, 1)));
  CHECK_THROWS_AS(BatchNorm2d(0), ValueError);
  CHECK_THROWS_AS(BatchNorm2d(3, {.momentum = 2}), ValueError);
  CHECK_THROWS_AS(GroupNorm(2, 3), ValueError);
  CHECK_THROWS_AS(GroupNorm(1, 3, 0), ValueError);
  Tape::current().clear();
}
