#include "layers/attention/image.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/attention/global.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"
#include "tests/support/parameters.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr ScoreSizes kSizes{.query = 4, .key = 3, .hidden = 5};

std::unique_ptr<ImageAttention> image(ImageAttentionKind kind, bool gate = false) {
  auto core = std::make_unique<ImageAttention>(make_score(ScoreKind::kAdditive, kSizes),
                                               ImageAttentionOptions{.kind = kind, .gate = gate});
  randomise(*core);
  core->to(DType::kFloat64);
  return core;
}

/// alpha of the image attention's own score.
Variable probabilities(const ImageAttention& core, const Variable& q, const Variable& k) {
  auto score = make_score(ScoreKind::kAdditive, kSizes);
  score->to(DType::kFloat64);
  for (auto& [name, tensor] : score->state_dict()) Tensor(tensor).copy_(parameter_of(core, "score." + name));
  GlobalAttention soft(std::move(score));
  return soft(q, k, k, {}, true).weights;
}

/// The same sample `count` times.
Tensor repeated(const Tensor& x, int64_t count) {
  Shape shape = x.shape();
  shape[0] = count;
  return x.expand(shape).contiguous();
}

}  // namespace

TEST_CASE("soft image attention is additive attention times a gate of the query", "[attention]") {
  const NoGrad no_grad;
  const auto core = image(ImageAttentionKind::kSoft, true);
  const Tensor q = random_tensor({2, 3, 1, 4}, DType::kFloat64, 1);
  const Variable k(random_tensor({2, 5, 1, 3}, DType::kFloat64, 2)), v(random_tensor({2, 5, 1, 2}, DType::kFloat64, 3));
  const AttentionResult got = (*core)(Variable(q), k, v, {}, true);
  const Tensor alpha = probabilities(*core, Variable(q), k).value();
  CHECK(max_difference(got.weights.value(), alpha) < 1e-14);
  const Tensor w = parameter_of(*core, "gate.weight"), bias = parameter_of(*core, "gate.bias");
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t t = 0; t < 3; ++t) {
      double inside = bias.data<double>()[0];
      for (int64_t i = 0; i < 4; ++i) inside += w.data<double>()[i] * element(q, b, t, int64_t{0}, i);
      for (int64_t i = 0; i < 2; ++i) {
        double expected = 0;
        for (int64_t s = 0; s < 5; ++s) {
          expected += element(alpha, b, int64_t{0}, t, s) * element(v.value(), b, s, int64_t{0}, i);
        }
        expected /= 1 + std::exp(-inside);
        CHECK(std::abs(element(got.output.value(), b, t, int64_t{0}, i) - expected) < 1e-14);
      }
    }
  }
}

TEST_CASE("contract 3.24: the doubly stochastic penalty is its formula and has right gradients",
          "[attention][contract][gradcheck]") {
  const Tensor weights = softmax(Variable(random_tensor({2, 2, 3, 4}))).value();
  double expected = 0;
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t s = 0; s < 4; ++s) {
        double total = 0;
        for (int64_t t = 0; t < 3; ++t) total += element(weights, b, h, t, s);
        expected += 0.7 * (1 - total) * (1 - total) / 4;
      }
    }
  }
  CHECK(std::abs(doubly_stochastic_penalty(Variable(weights), 0.7).item() - expected) < 1e-14);
  const GradcheckReport report =
      gradcheck([](std::span<const Variable> x) { return doubly_stochastic_penalty(x[0], 0.7); }, {weights});
  INFO(report.to_string());
  CHECK(report.ok);

  const auto core = image(ImageAttentionKind::kSoft, true);
  check_gradients(*core, {random_tensor({2, 3, 1, 4}), random_tensor({2, 5, 1, 3}), random_tensor({2, 5, 1, 2})},
                  [&](auto x) { return doubly_stochastic_penalty((*core)(x[0], x[1], x[2], {}, true).weights); });
}

TEST_CASE("hard attention draws regions by their probabilities, and the most probable one in evaluation",
          "[attention]") {
  const NoGrad no_grad;
  manual_seed(5);
  constexpr int64_t kDraws = 20000;
  const auto core = image(ImageAttentionKind::kHard);
  const Variable q(repeated(random_tensor({1, 1, 1, 4}, DType::kFloat64, 1), kDraws));
  const Variable k(repeated(random_tensor({1, 4, 1, 3}, DType::kFloat64, 2), kDraws));
  const Tensor alpha = probabilities(*core, slice(q, 0, 0, 1), slice(k, 0, 0, 1)).value();
  const AttentionResult drawn = (*core)(q, k, k, {}, true);
  for (double weight : values(drawn.weights.value())) CHECK((weight == 0 || weight == 1));
  const std::vector<double> frequency = values(mean(drawn.weights, {0}).value());
  core->eval();
  const std::vector<double> best = values((*core)(q, k, k, {}, true).weights.value().select(0, 0));
  double largest = 0;
  for (double probability : values(alpha)) largest = std::max(largest, probability);
  for (size_t s = 0; s < 4; ++s) {
    const double p = values(alpha)[s];
    INFO("region " << s << ", probability " << p);
    CHECK(std::abs(frequency[s] - p) < 5 * std::sqrt(p * (1 - p) / kDraws));
    CHECK(best[s] == (p == largest ? 1 : 0));
  }

  // A masked region is never drawn, however probable it would be.
  core->train();
  Tensor keep = Tensor::full({1, 4}, 0, DType::kBool);
  keep.slice(1, 2, 3).fill_(1);
  for (double weight : values((*core)(q, k, k, AttentionMask::drop(keep), true).weights.value().select(3, 2))) {
    CHECK(weight == 0);
  }
}

TEST_CASE("a state gathers what the choices' loss needs", "[attention]") {
  const auto core = image(ImageAttentionKind::kHard);
  const Variable q(random_tensor({2, 3, 1, 4}, DType::kFloat64, 1)), k(random_tensor({2, 5, 1, 3}, DType::kFloat64, 2));
  const AttentionMask mask = AttentionMask::padding(Tensor::from<int64_t>({5, 0}, {2}));
  const AttentionMemory memory = core->prepare(k, k, mask, 3);
  AttentionState state;
  const Tensor weights = core->step(slice(q, 1, 0, 2), memory, state, true).weights.value();
  const Tensor last = core->step(slice(q, 1, 2, 3), memory, state, true).weights.value();
  const Tensor alpha = probabilities(*core, q, k).value();
  double log_probability = 0, entropy = 0;
  for (int64_t t = 0; t < 3; ++t) {
    for (int64_t s = 0; s < 5; ++s) {
      const double p = element(alpha, int64_t{0}, int64_t{0}, t, s);
      entropy -= p * std::log(p);
      const Tensor& chosen = t < 2 ? weights : last;
      if (element(chosen, int64_t{0}, int64_t{0}, t % 2, s) == 1) log_probability += std::log(p);
    }
  }
  CHECK(state.log_probability.shape() == Shape{2, 1});
  CHECK(std::abs(values(state.log_probability.value())[0] - log_probability) < 1e-13);
  CHECK(std::abs(values(state.entropy.value())[0] - entropy) < 1e-13);
  // Without regions nothing is chosen.
  CHECK(values(state.log_probability.value())[1] == 0);
  CHECK(values(state.entropy.value())[1] == 0);
  Tape::current().clear();
}

TEST_CASE("the expectation of the hard gradient is the gradient of the expectation", "[attention]") {
  // Many equal samples, so that every region is drawn: the gradient that a sample gives, weighted by the probability of
  // its choice, summed over the choices, is that of sum over s of alpha(s) log p(y | s) + lambda_e entropy.
  constexpr int64_t kDraws = 64;
  constexpr double kReward = 1, kEntropy = 0.3;
  manual_seed(9);
  const auto core = image(ImageAttentionKind::kHard);
  const Tensor q0 = random_tensor({1, 1, 1, 4}, DType::kFloat64, 1),
               k0 = random_tensor({1, 3, 1, 3}, DType::kFloat64, 2);
  const Tensor v0 = random_tensor({1, 3, 1, 2}, DType::kFloat64, 3);
  const Variable target(random_tensor({2}, DType::kFloat64, 4));
  const auto log_likelihood = [&](const Variable& output) {  // [B, 1, 1, 2] -> [B]
    return -sum(square(output - target), {1, 2, 3});
  };

  ReinforceLoss loss({.reward = kReward, .entropy = kEntropy});
  loss.to(DType::kFloat64);
  parameter_of(loss, "baseline").fill_(-0.8);  // changes no expectation
  const Variable q(repeated(q0, kDraws), true), k(repeated(k0, kDraws), true), v(repeated(v0, kDraws), true);
  AttentionState state;
  const AttentionResult result = core->step(q, core->prepare(k, v, {}, 1), state, true);
  loss(log_likelihood(result.output), state).backward();

  const Variable soft_q(q0, true), soft_k(k0, true), soft_v(v0, true);
  const Variable alpha = probabilities(*core, soft_q, soft_k);  // [1, 1, 1, 3]
  const Variable likelihoods = -sum(square(reshape(soft_v, {3, 2}) - target), {1});
  const Variable flat = reshape(alpha, {3});
  const Variable bound = sum(flat * likelihoods) - sum(flat * log(flat)) * kEntropy;
  (-bound).backward();

  Tensor dq = Tensor::zeros_like(q0), dk = Tensor::zeros_like(k0), dv = Tensor::zeros_like(v0);
  const auto add_weighted = [&](Tensor& total, const Variable& x, int64_t b, double weight) {
    const Variable part(x.grad().slice(0, b, b + 1));
    total.copy_(add(Variable(total), part * (weight * static_cast<double>(kDraws))).value());
  };
  for (int64_t s = 0; s < 3; ++s) {
    int64_t b = 0;
    while (b < kDraws && element(result.weights.value(), b, int64_t{0}, int64_t{0}, s) == 0) ++b;
    REQUIRE(b < kDraws);
    const double weight = values(alpha.value())[static_cast<size_t>(s)];
    add_weighted(dq, q, b, weight);
    add_weighted(dk, k, b, weight);
    add_weighted(dv, v, b, weight);
  }
  CHECK(max_difference(dq, soft_q.grad()) < 1e-13);
  CHECK(max_difference(dk, soft_k.grad()) < 1e-13);
  CHECK(max_difference(dv, soft_v.grad()) < 1e-13);
  CHECK_FALSE(all_zero(dq));
}

TEST_CASE("the baseline is a moving average of training, saved with the loss", "[attention][errors]") {
  ReinforceLoss loss;
  const Variable half(Tensor::full({2, 1}, 0.5));
  const AttentionState state{.position = 1, .log_probability = half, .entropy = half};
  const Variable likelihood(Tensor::from<float>({-1, -3}, {2}));
  // -(log p + (log p - 0) 0.5 + 0.01 0.5), averaged
  CHECK(std::abs(loss(likelihood, state).item() - (3 - 0.005)) < 1e-6);
  CHECK(std::abs(loss.baseline() - -0.2) < 1e-6);
  loss(likelihood, state);
  CHECK(std::abs(loss.baseline() - -0.38) < 1e-6);
  loss.eval();
  loss(likelihood, state);
  CHECK(std::abs(loss.baseline() - -0.38) < 1e-6);
  CHECK(loss.state_dict().size() == 1);
  CHECK(loss.parameters().empty());

  CHECK(error_text<ValueError>([&] { loss(likelihood, {}); }) ==
        "ReinforceLoss: the state holds no choices; expected that of an ImageAttention of kind kHard after step()");
  CHECK(error_text<ShapeError>([&] { loss(Variable(Tensor::zeros({3})), state); }) ==
        "ReinforceLoss: log_likelihood is [3], expected [2]");
  CHECK_THROWS_AS(ReinforceLoss({.decay = 1}), ValueError);
  CHECK_THROWS_AS(doubly_stochastic_penalty(half), ShapeError);
}
