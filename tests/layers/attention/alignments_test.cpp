// Local, location, location-aware and coverage attention by their formulas, element by element.

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <functional>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/attention/global.h"
#include "layers/attention/history.h"
#include "layers/attention/local.h"
#include "layers/attention/location.h"
#include "layers/attention/product_scores.h"
#include "tests/support/attention.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"
#include "tests/support/parameters.h"

using namespace attune;
using namespace attune::testing;

namespace {

const Extents kExtents{2, 2, 5, 7};
constexpr int64_t kQuery = 4, kKey = 3, kHidden = 5;
constexpr ScoreSizes kSizes{.query = kQuery, .key = kKey, .heads = 2, .hidden = kHidden};

struct Operands {
  Tensor q = random_tensor({2, 5, 2, kQuery}, DType::kFloat64, 1);
  Tensor k = random_tensor({2, 7, 2, kKey}, DType::kFloat64, 2);
  Tensor v = random_tensor({2, 7, 2, 3}, DType::kFloat64, 3);
};

template <class C>
std::unique_ptr<C> prepared(std::unique_ptr<C> core) {
  randomise(*core);
  core->to(DType::kFloat64);
  return core;
}

Tensor weights_of(AttentionCore& core, const Operands& in, const AttentionMask& mask = {}) {
  const NoGrad no_grad;
  return core(Variable(in.q), Variable(in.k), Variable(in.v), mask, true).weights.value();
}

/// exp(score) over their sum where allowed, 0 elsewhere.
std::vector<double> softmax_by_formula(const std::vector<double>& scores, const std::function<bool(int64_t)>& allowed) {
  std::vector<double> out(scores.size(), 0.0);
  double total = 0;
  for (size_t s = 0; s < scores.size(); ++s) {
    if (allowed(static_cast<int64_t>(s))) total += out[s] = std::exp(scores[s]);
  }
  for (double& x : out) x = total > 0 ? x / total : 0;
  return out;
}

/// row(b, h, t) for every query: [B, H, T, S]
Tensor by_rows(const Extents& e, const std::function<std::vector<double>(int64_t, int64_t, int64_t)>& row) {
  std::vector<double> all;
  for (int64_t b = 0; b < e.batch; ++b) {
    for (int64_t h = 0; h < e.heads; ++h) {
      for (int64_t t = 0; t < e.queries; ++t) {
        const std::vector<double> one = row(b, h, t);
        all.insert(all.end(), one.begin(), one.end());
      }
    }
  }
  return Tensor::from(all, {e.batch, e.heads, e.queries, e.keys});
}

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

/// Scores of keys, computed by the general score that `core` holds.
double general(const Module& core, const Operands& in, int64_t b, int64_t h, int64_t t, int64_t s) {
  const Tensor w = parameter_of(core, "score.w.weight");
  double total = 0;
  for (int64_t i = 0; i < kQuery; ++i) {
    for (int64_t j = 0; j < kKey; ++j)
      total += element(in.q, b, t, h, i) * element(w, h, i, j) * element(in.k, b, s, h, j);
  }
  return total;
}

std::unique_ptr<LocalAttention> local(LocalKind kind, int64_t window) {
  return prepared(std::make_unique<LocalAttention>(make_score(ScoreKind::kGeneral, kSizes),
                                                   LocalAttentionOptions{.kind = kind, .window = window}));
}

/// softmax over keys of v tanh(W q + U k + b + more(b, h, s, a)), one query after the other; after(weights) between.
Tensor additive_with(const Module& core, const Operands& in,
                     const std::function<double(int64_t h, int64_t s, int64_t a, const std::vector<double>&)>& more,
                     const std::function<void(std::vector<double>& carried, const std::vector<double>&)>& after) {
  const Tensor w = parameter_of(core, "score.w.weight"), u = parameter_of(core, "score.u.weight");
  const Tensor v = parameter_of(core, "score.v"), bias = parameter_of(core, "score.b");
  const auto keys = static_cast<size_t>(kExtents.keys);
  std::vector<double> carried;
  return by_rows(kExtents, [&](int64_t b, int64_t h, int64_t t) {
    if (t == 0) carried.assign(keys, 0.0);
    std::vector<double> scores(keys, 0.0);
    for (int64_t s = 0; s < kExtents.keys; ++s) {
      for (int64_t a = 0; a < kHidden; ++a) {
        double inside = element(bias, h, a) + more(h, s, a, carried);
        for (int64_t i = 0; i < kQuery; ++i) inside += element(w, h, a, i) * element(in.q, b, t, h, i);
        for (int64_t i = 0; i < kKey; ++i) inside += element(u, h, a, i) * element(in.k, b, s, h, i);
        scores[static_cast<size_t>(s)] += element(v, h, a) * std::tanh(inside);
      }
    }
    std::vector<double> weights = softmax_by_formula(scores, [](int64_t) { return true; });
    after(carried, weights);
    return weights;
  });
}

/// Global attention by the additive score of `core`.
Tensor additive_weights(const Module& core, const Operands& in) {
  auto score = std::make_unique<AdditiveScore>(kSizes, AdditiveScoreOptions{.bias = true});
  score->to(DType::kFloat64);
  for (auto& [name, tensor] : score->state_dict()) Tensor(tensor).copy_(parameter_of(core, "score." + name));
  GlobalAttention plain(std::move(score));
  return weights_of(plain, in);
}

}  // namespace

TEST_CASE("local-m is the softmax over the window around the query's position", "[attention]") {
  const Operands in;
  const auto core = local(LocalKind::kMonotonic, 2);
  CHECK(max_difference(weights_of(*core, in), by_rows(kExtents, [&](int64_t b, int64_t h, int64_t t) {
                         std::vector<double> scores;
                         for (int64_t s = 0; s < kExtents.keys; ++s) scores.push_back(general(*core, in, b, h, t, s));
                         return softmax_by_formula(scores, [t](int64_t s) { return std::abs(s - t) <= 2; });
                       })) < 1e-13);
  // A window over everything is global attention.
  const auto wide = local(LocalKind::kMonotonic, 100);
  auto score = std::make_unique<GeneralScore>(kSizes);
  score->to(DType::kFloat64);
  parameter_of(*score, "w.weight").copy_(parameter_of(*wide, "score.w.weight"));
  GlobalAttention global(std::move(score));
  CHECK(max_difference(weights_of(*wide, in), weights_of(global, in)) < 1e-14);
}

TEST_CASE("contract 3.23: local-p is its formula, and not normalised again", "[attention][contract]") {
  const Operands in;
  const Tensor lengths = Tensor::from<int64_t>({7, 4}, {2});
  for (const bool padded : {false, true}) {
    const auto core = local(LocalKind::kPredictive, 3);
    const Tensor w = parameter_of(*core, "w.weight"), v = parameter_of(*core, "v.weight");
    const Tensor expected = by_rows(kExtents, [&](int64_t b, int64_t h, int64_t t) {
      const int64_t length = padded ? lengths.data<int64_t>()[b] : kExtents.keys;
      double x = 0;
      for (int64_t a = 0; a < kHidden; ++a) {
        double inside = 0;
        for (int64_t i = 0; i < kQuery; ++i) inside += element(w, h, a, i) * element(in.q, b, t, h, i);
        x += element(v, h, 0, a) * std::tanh(inside);
      }
      const double p = static_cast<double>(length) * sigmoid_of(x);
      const auto distance = [p](int64_t s) { return static_cast<double>(s) - p; };
      std::vector<double> scores;
      for (int64_t s = 0; s < kExtents.keys; ++s) scores.push_back(general(*core, in, b, h, t, s));
      std::vector<double> weights =
          softmax_by_formula(scores, [&](int64_t s) { return s < length && std::abs(distance(s)) <= 3; });
      for (int64_t s = 0; s < kExtents.keys; ++s) {
        weights[static_cast<size_t>(s)] *= std::exp(-distance(s) * distance(s) / (2 * 1.5 * 1.5));
      }
      return weights;
    });
    const Tensor got = weights_of(*core, in, padded ? AttentionMask::padding(lengths) : AttentionMask());
    CHECK(max_difference(got, expected) < 1e-13);
    for (double total : values(sum(Variable(got), {3}).value())) CHECK((total > 0 && total < 1));
  }
}

TEST_CASE("location attention weighs positions by the query alone", "[attention]") {
  for (const int64_t max_keys : {4, 9}) {
    const Operands in;
    const auto core = prepared(std::make_unique<LocationAttention>(
        LocationAttentionOptions{.query = kQuery, .heads = 2, .max_keys = max_keys}));
    const Tensor w = parameter_of(*core, "w.weight");
    const Tensor expected = by_rows(kExtents, [&](int64_t b, int64_t h, int64_t t) {
      std::vector<double> scores(static_cast<size_t>(kExtents.keys), 0.0);
      for (int64_t s = 0; s < std::min(max_keys, kExtents.keys); ++s) {
        for (int64_t i = 0; i < kQuery; ++i) {
          scores[static_cast<size_t>(s)] += element(w, h, s, i) * element(in.q, b, t, h, i);
        }
      }
      return softmax_by_formula(scores, [=](int64_t s) { return s < max_keys; });
    });
    const Tensor got = weights_of(*core, in);
    CHECK(max_difference(got, expected) < 1e-13);
    Operands other;
    other.k.fill_(5);
    CHECK(same_values(got, weights_of(*core, other)));
  }
}

TEST_CASE("location-aware attention is its formula, and additive where the previous weights are 0", "[attention]") {
  const Operands in;
  constexpr int64_t kFilters = 3, kWidth = 5;
  const auto core = prepared(std::make_unique<LocationAwareAttention>(
      LocationAwareOptions{.sizes = kSizes, .filters = kFilters, .width = kWidth}));
  const Tensor filters = parameter_of(*core, "filters"), features = parameter_of(*core, "features");
  const Tensor expected = additive_with(
      *core, in,
      [&](int64_t h, int64_t s, int64_t a, const std::vector<double>& previous) {
        double total = 0;
        for (int64_t c = 0; c < kFilters; ++c) {
          for (int64_t i = 0; i < kWidth; ++i) {
            const int64_t at = s + i - kWidth / 2;
            if (at < 0 || at >= kExtents.keys) continue;
            total += element(features, h, a, c) * element(filters, h, i, c) * previous[static_cast<size_t>(at)];
          }
        }
        return total;
      },
      [](std::vector<double>& previous, const std::vector<double>& weights) { previous = weights; });
  const Tensor got = weights_of(*core, in);
  CHECK(max_difference(got, expected) < 1e-13);

  const Tensor additive = additive_weights(*core, in);
  CHECK(max_difference(got.select(2, 0), additive.select(2, 0)) < 1e-14);
  CHECK(max_difference(got.select(2, 1), additive.select(2, 1)) > 1e-3);
  // A state with previous weights 0 is as good as none.
  const NoGrad no_grad;
  const AttentionMemory memory = core->prepare(Variable(in.k), Variable(in.v), {}, 5);
  AttentionState state{.position = 1, .carried = Variable(Tensor::zeros({2, 2, 7}, DType::kFloat64))};
  const Tensor second = core->step(Variable(in.q.slice(1, 1, 2)), memory, state, true).weights.value();
  CHECK(max_difference(second, additive.slice(2, 1, 2)) < 1e-14);
  CHECK_THROWS_AS(LocationAwareAttention({.sizes = kSizes, .width = 4}), ValueError);
  CHECK_THROWS_AS(LocationAwareAttention({.sizes = kSizes, .filters = 0}), ValueError);
}

TEST_CASE("coverage attention is its formula, and additive where the coverage is 0", "[attention]") {
  const Operands in;
  const auto core = prepared(std::make_unique<CoverageAttention>(HistoryAttentionOptions{.sizes = kSizes}));
  const Tensor w = parameter_of(*core, "w_coverage");
  const Tensor expected = additive_with(
      *core, in,
      [&](int64_t h, int64_t s, int64_t a, const std::vector<double>& coverage) {
        return element(w, h, a) * coverage[static_cast<size_t>(s)];
      },
      [](std::vector<double>& coverage, const std::vector<double>& weights) {
        for (size_t s = 0; s < coverage.size(); ++s) coverage[s] += weights[s];
      });
  const Tensor got = weights_of(*core, in);
  CHECK(max_difference(got, expected) < 1e-13);
  const Tensor additive = additive_weights(*core, in);
  CHECK(max_difference(got.select(2, 0), additive.select(2, 0)) < 1e-14);
  CHECK(max_difference(got.select(2, 1), additive.select(2, 1)) > 1e-3);
}

TEST_CASE("the coverage loss is its formula and has right gradients", "[attention][gradcheck]") {
  const Tensor weights = softmax(Variable(random_tensor({2, 2, 4, 5}))).value();
  Tensor expected = Tensor::zeros({2, 2, 4}, DType::kFloat64);
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t t = 0; t < 4; ++t) {
        double total = 0;
        for (int64_t s = 0; s < 5; ++s) {
          double coverage = 0;
          for (int64_t earlier = 0; earlier < t; ++earlier) coverage += element(weights, b, h, earlier, s);
          total += std::min(element(weights, b, h, t, s), coverage);
        }
        expected.data<double>()[(b * 2 + h) * 4 + t] = total;
      }
    }
  }
  CHECK(max_difference(coverage_loss(Variable(weights)).value(), expected) < 1e-14);
  CHECK(coverage_loss(Variable(Tensor::zeros({2, 2, 0, 5}))).shape() == Shape{2, 2, 0});
  const GradcheckReport report = gradcheck([](std::span<const Variable> x) { return coverage_loss(x[0]); }, {weights});
  INFO(report.to_string());
  CHECK(report.ok);
  CHECK(error_text<ShapeError>([&] { coverage_loss(Variable(weights.select(0, 0))); }) ==
        "coverage_loss: weights are [2, 4, 5], expected [B, H, T, S]");
}

TEST_CASE("local and location attention refuse what does not fit, by name", "[attention][errors]") {
  CHECK(error_text<ValueError>([] { LocalAttention(make_score(ScoreKind::kDot, {.query = 4}), {.window = 0}); }) ==
        "LocalAttention: window 0 given, expected at least 1");
  LocationAttention location({.query = 4, .heads = 2, .max_keys = 3});
  const Variable k(Tensor::zeros({2, 7, 2, 3}));
  CHECK(error_text<ShapeError>([&] {
          location(Variable(Tensor::zeros({2, 5, 2, 3})), k, k);
        }) == "LocationAttention: q is [2, 5, 2, 3], expected [B, T, 2, 4]");
  CHECK_THROWS_AS(LocationAttention({.query = 4, .heads = 2}), ValueError);
}
