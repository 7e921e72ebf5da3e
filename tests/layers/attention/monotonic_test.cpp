#include "layers/attention/monotonic.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "tests/support/gradients.h"
#include "tests/support/parameters.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr int64_t kQueries = 4, kKeys = 6;

/// Stopping probabilities [1, 1, T, S] that are neither 0 nor 1.
Tensor probabilities(uint64_t seed = 3) {
  return sigmoid(Variable(random_tensor({1, 1, kQueries, kKeys}, DType::kFloat64, seed))).value();
}

Tensor first_key() {
  Tensor out = Tensor::zeros({1, 1, kKeys}, DType::kFloat64);
  out.slice(2, 0, 1).fill_(1);
  return out;
}

Tensor everything() { return Tensor::full({1, 1, kQueries, kKeys}, 1, DType::kBool); }

/// An attention whose scores are `energies` [T, S]: dot products with unit vectors.
struct ByEnergies {
  explicit ByEnergies(const Tensor& energies, double noise = 0)
      : core(make_score(ScoreKind::kDot, {.query = kQueries}), {.noise = noise, .offset = 0}) {
    core.to(DType::kFloat64);
    Tensor units = Tensor::zeros({1, kQueries, 1, kQueries}, DType::kFloat64);
    for (int64_t t = 0; t < kQueries; ++t) units.select(1, t).slice(2, t, t + 1).fill_(1);
    q = Variable(units);
    k = Variable(energies.transpose(0, 1).contiguous().view({1, kKeys, 1, kQueries}));
  }

  Tensor weights() {
    const NoGrad no_grad;
    return core(q, k, k, {}, true).weights.value();
  }

  MonotonicAttention core;
  Variable q, k;
};

}  // namespace

TEST_CASE("the expected alignment is the sum over all walks, and the parallel form", "[attention]") {
  const Tensor p = probabilities();
  const auto [weights, last] = monotonic_alignment(Variable(p), Variable(first_key()), everything());
  std::vector<double> before(kKeys, 0.0);
  before[0] = 1;
  for (int64_t t = 0; t < kQueries; ++t) {
    const auto stop = [&](int64_t s) { return element(p, int64_t{0}, int64_t{0}, t, s); };
    std::vector<double> walks, parallel;
    double passed = 1, total = 0;  // cumulative product of 1 - p in front of s, and sum of before / that
    for (int64_t s = 0; s < kKeys; ++s) {
      // Began at k, passed k ... s - 1, stopped at s.
      double sum_of_walks = 0;
      for (int64_t k = 0; k <= s; ++k) {
        double walk = before[static_cast<size_t>(k)];
        for (int64_t l = k; l < s; ++l) walk *= 1 - stop(l);
        sum_of_walks += walk;
      }
      walks.push_back(stop(s) * sum_of_walks);
      total += before[static_cast<size_t>(s)] / passed;
      parallel.push_back(stop(s) * passed * total);
      passed *= 1 - stop(s);
    }
    for (int64_t s = 0; s < kKeys; ++s) {
      const double got = element(weights.value(), int64_t{0}, int64_t{0}, t, s);
      CHECK(std::abs(got - walks[static_cast<size_t>(s)]) < 1e-14);
      CHECK(std::abs(got - parallel[static_cast<size_t>(s)]) < 1e-13);
    }
    before = walks;
  }
  CHECK(same_values(last.value(), weights.value().select(2, kQueries - 1)));
}

TEST_CASE("masked keys are passed by, and a query without any leaves the alignment where it was", "[attention]") {
  const Tensor p = probabilities();
  Tensor keep = everything();
  keep.select(3, 2).fill_(0);  // the third key
  keep.select(2, 1).fill_(0);  // the second query
  const Tensor weights = monotonic_alignment(Variable(p), Variable(first_key()), keep).first.value();
  CHECK(all_zero(weights.select(3, 2)));
  CHECK(all_zero(weights.select(2, 1)));

  const auto without = [](const Tensor& x, int axis, int64_t index) {
    return concat({slice(Variable(x), axis, 0, index), slice(Variable(x), axis, index + 1, x.dim(axis))}, axis).value();
  };
  const Tensor fewer = without(without(p, 3, 2), 2, 1);
  const Tensor alone = monotonic_alignment(Variable(fewer), Variable(without(first_key(), 2, 2)),
                                           Tensor::full(fewer.shape(), 1, DType::kBool))
                           .first.value();
  CHECK(max_difference(without(without(weights, 3, 2), 2, 1), alone) < 1e-15);
}

TEST_CASE("evaluation makes hard choices: each query stops at the first key from where the last one stopped",
          "[attention]") {
  const Tensor energies = random_tensor({kQueries, kKeys}, DType::kFloat64, 21);
  ByEnergies by(energies, 1);
  by.core.eval();
  Tensor expected = Tensor::zeros({1, 1, kQueries, kKeys}, DType::kFloat64);
  int64_t at = 0;
  for (int64_t t = 0; t < kQueries; ++t) {
    while (at < kKeys && element(energies, t, at) <= 0) ++at;
    if (at < kKeys) expected.data<double>()[t * kKeys + at] = 1;
  }
  CHECK(same_values(by.weights(), expected));
  CHECK_FALSE(all_zero(expected.select(2, kQueries - 2)));

  // Expected and hard agree where the energies leave no doubt.
  ByEnergies sure(affine(Variable(energies), 1e4, 0).value());
  CHECK(max_difference(sure.weights(), expected) < 1e-12);
}

TEST_CASE("noise is added in training only, drawn anew each time", "[attention]") {
  const Tensor energies = random_tensor({kQueries, kKeys}, DType::kFloat64, 21);
  ByEnergies by(energies, 1);
  manual_seed(4);
  const Tensor once = by.weights();
  CHECK_FALSE(same_values(once, by.weights()));
  manual_seed(4);
  CHECK(same_values(once, by.weights()));
  CHECK_FALSE(same_values(once, ByEnergies(energies).weights()));
  // The energies of the first key with noise: p = sigmoid(e + noise) is the first weight.
  manual_seed(4);
  const Tensor noise = default_stream().normal({1, 1, kQueries, kKeys}, 0, 1, DType::kFloat64);
  const double first = element(energies, int64_t{0}, int64_t{0}) + noise.data<double>()[0];
  CHECK(std::abs(once.data<double>()[0] - 1 / (1 + std::exp(-first))) < 1e-14);

  by.core.eval();
  const RandomState before = default_stream().state();
  by.weights();
  CHECK(default_stream().state() == before);
}

TEST_CASE("the offset moves all energies", "[attention]") {
  const Tensor energies = random_tensor({kQueries, kKeys}, DType::kFloat64, 21);
  ByEnergies moved(energies);
  parameter_of(moved.core, "offset").fill_(0.7);
  CHECK(max_difference(moved.weights(), ByEnergies(affine(Variable(energies), 1, 0.7).value()).weights()) < 1e-14);
  CHECK_THROWS_AS(MonotonicAttention(make_score(ScoreKind::kDot, {.query = 4}), {.noise = -1}), ValueError);
}
