// The score functions by their formulas, element by element, and by what each must be a case of.

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <functional>

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/attention/additive_scores.h"
#include "layers/attention/global.h"
#include "layers/attention/product_scores.h"
#include "tests/support/attention.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"
#include "tests/support/parameters.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr int64_t kBatch = 2, kHeads = 2, kQueries = 3, kKeys = 4, kQuery = 5, kKey = 3, kHidden = 6;
constexpr ScoreSizes kUnequal{.query = kQuery, .key = kKey, .heads = kHeads, .hidden = kHidden};
constexpr ScoreSizes kEqual{.query = kQuery, .heads = kHeads, .hidden = kHidden};

Tensor queries() { return random_tensor({kBatch, kQueries, kHeads, kQuery}, DType::kFloat64, 1); }
Tensor keys(int64_t width) { return random_tensor({kBatch, kKeys, kHeads, width}, DType::kFloat64, 2); }

template <class S>
Tensor computed(const S& score, const Tensor& q, const Tensor& k) {
  const NoGrad no_grad;
  return score(Variable(q), score.keys(Variable(k))).value();
}

/// The i-th element of a query or a key.
using Vector = std::function<double(int64_t)>;

/// f(q, k, head) of every query and key.
template <class F>
Tensor by_formula(const Tensor& q, const Tensor& k, F&& f) {
  Tensor out = Tensor::empty({q.dim(0), q.dim(2), q.dim(1), k.dim(1)}, DType::kFloat64);
  double* at = out.data<double>();
  for (int64_t b = 0; b < q.dim(0); ++b) {
    for (int64_t h = 0; h < q.dim(2); ++h) {
      for (int64_t t = 0; t < q.dim(1); ++t) {
        for (int64_t s = 0; s < k.dim(1); ++s) {
          const Vector query = [=, &q](int64_t i) { return element(q, b, t, h, i); };
          const Vector key = [=, &k](int64_t i) { return element(k, b, s, h, i); };
          *at++ = f(query, key, h);
        }
      }
    }
  }
  return out;
}

double dot(const Vector& q, const Vector& k) {
  double total = 0;
  for (int64_t i = 0; i < kQuery; ++i) total += q(i) * k(i);
  return total;
}

/// A score with random parameters, in float64.
template <class S, class... Options>
std::unique_ptr<S> made(const Options&... options) {
  auto score = std::make_unique<S>(options...);
  randomise(*score);
  score->to(DType::kFloat64);
  return score;
}

/// v tanh(W q + U k + b)
double additive(const Module& score, const Vector& q, const Vector& k, int64_t h, const Tensor& b = {}) {
  const Tensor w = parameter_of(score, "w.weight"), u = parameter_of(score, "u.weight"), v = parameter_of(score, "v");
  double total = 0;
  for (int64_t a = 0; a < kHidden; ++a) {
    double inside = b.defined() ? element(b, h, a) : 0;
    for (int64_t i = 0; i < kQuery; ++i) inside += element(w, h, a, i) * q(i);
    for (int64_t i = 0; i < kKey; ++i) inside += element(u, h, a, i) * k(i);
    total += element(v, h, a) * std::tanh(inside);
  }
  return total;
}

}  // namespace

TEST_CASE("dot and scaled dot are the formula", "[attention]") {
  const Tensor q = queries(), k = keys(kQuery);
  const auto scaled = [&](double scale) {
    return by_formula(q, k, [&](const Vector& a, const Vector& b, int64_t) { return scale * dot(a, b); });
  };
  CHECK(max_difference(computed(DotScore(kEqual), q, k), scaled(1 / std::sqrt(5.0))) < 1e-14);
  CHECK(max_difference(computed(DotScore(kEqual, {.scale = 1}), q, k), scaled(1)) < 1e-14);
}

TEST_CASE("general is the formula, and dot for W = I", "[attention]") {
  const auto score = made<GeneralScore>(kUnequal);
  const Tensor q = queries(), k = keys(kKey), w = parameter_of(*score, "w.weight");
  const Tensor expected = by_formula(q, k, [&](const Vector& a, const Vector& b, int64_t h) {
    double total = 0;
    for (int64_t i = 0; i < kQuery; ++i) {
      for (int64_t j = 0; j < kKey; ++j) total += a(i) * element(w, h, i, j) * b(j);
    }
    return total;
  });
  CHECK(max_difference(computed(*score, q, k), expected) < 1e-13);

  const auto equal = made<GeneralScore>(kEqual);
  Tensor identity = parameter_of(*equal, "w.weight");
  identity.fill_(0);
  for (int64_t i = 0; i < kQuery; ++i) identity.select(1, i).slice(1, i, i + 1).fill_(1);
  CHECK(max_difference(computed(*equal, q, keys(kQuery)), computed(DotScore(kEqual, {.scale = 1}), q, keys(kQuery))) <
        1e-14);
}

TEST_CASE("additive is the formula, with bias and normalised too", "[attention]") {
  const Tensor q = queries(), k = keys(kKey);
  const auto plain = made<AdditiveScore>(kUnequal);
  CHECK(max_difference(computed(*plain, q, k), by_formula(q, k, [&](const Vector& a, const Vector& b, int64_t h) {
                         return additive(*plain, a, b, h);
                       })) < 1e-13);

  const auto biased = made<AdditiveScore>(kUnequal, AdditiveScoreOptions{.bias = true});
  const Tensor bias = parameter_of(*biased, "b");
  CHECK(max_difference(computed(*biased, q, k), by_formula(q, k, [&](const Vector& a, const Vector& b, int64_t h) {
                         return additive(*biased, a, b, h, bias);
                       })) < 1e-13);

  const auto normed = made<AdditiveScore>(kUnequal, AdditiveScoreOptions{.normalised = true});
  const Tensor v = parameter_of(*normed, "v"), g = parameter_of(*normed, "g"), b_normed = parameter_of(*normed, "b");
  const auto expected = [&] {
    return by_formula(q, k, [&](const Vector& a, const Vector& b, int64_t h) {
      double squares = 0;
      for (int64_t i = 0; i < kHidden; ++i) squares += element(v, h, i) * element(v, h, i);
      return element(g, h) / std::sqrt(squares) * additive(*normed, a, b, h, b_normed);
    });
  };
  const Tensor before = computed(*normed, q, k);
  CHECK(max_difference(before, expected()) < 1e-13);
  // The length of v says nothing.
  Tensor(v).copy_(affine(Variable(v), 7, 0).value());
  CHECK(max_difference(computed(*normed, q, k), before) < 1e-13);
}

TEST_CASE("the fused additive score is the composed one, in value and gradient", "[attention]") {
  const auto by = [](const auto& function, DType dtype) {
    const Variable q(random_tensor({3, 2, 4, 70}, dtype, 1), true), k(random_tensor({3, 2, 9, 70}, dtype, 2), true);
    const Variable v(random_tensor({2, 70}, dtype, 3), true);
    const Variable y = function(q, k, v);
    y.backward(random_tensor(y.shape(), dtype, 4));
    return std::vector<Tensor>{y.value(), q.grad(), k.grad(), v.grad()};
  };
  for (DType dtype : {DType::kFloat32, DType::kFloat64}) {
    const std::vector<Tensor> fused = by(additive_scores, dtype), composed = by(additive_scores_composed, dtype);
    for (size_t i = 0; i < fused.size(); ++i) {
      CHECK(max_difference(fused[i], composed[i]) < (dtype == DType::kFloat32 ? 5e-5 : 1e-13));
    }
  }
}

TEST_CASE("the weighted sum of many queries, one product, is that of each query alone", "[attention]") {
  for (DType dtype : {DType::kFloat32, DType::kFloat64}) {
    const Variable weights(random_tensor({2, 4, 9, 5}, dtype, 1), true),
        v(random_tensor({2, 5, 2, 37}, dtype, 2), true);
    const auto results = [&](const Variable& y) {
      y.backward(random_tensor(y.shape(), dtype, 3));
      std::vector<Tensor> out{y.value(), weights.grad().clone(), v.grad().clone()};
      Variable(weights).zero_grad();
      Variable(v).zero_grad();
      return out;
    };
    const std::vector<Tensor> together = results(weighted_sum(weights, v));
    std::vector<Variable> rows;
    for (int64_t t = 0; t < 9; ++t) rows.push_back(weighted_sum(slice(weights, 2, t, t + 1), v));
    const std::vector<Tensor> alone = results(concat(rows, 1));
    for (size_t i = 0; i < 3; ++i) {
      CHECK(max_difference(together[i], alone[i]) < (dtype == DType::kFloat32 ? 2e-5 : 1e-13));
    }
  }
}

TEST_CASE("concat with W = [W1 W2] is additive", "[attention]") {
  const Tensor q = queries(), k = keys(kKey);
  const auto concat_score = made<ConcatScore>(kUnequal);
  const auto additive_score = made<AdditiveScore>(kUnequal);
  const Tensor w = parameter_of(*concat_score, "w.weight");
  parameter_of(*additive_score, "w.weight").copy_(w.slice(2, 0, kQuery));
  parameter_of(*additive_score, "u.weight").copy_(w.slice(2, kQuery, kQuery + kKey));
  parameter_of(*additive_score, "v").copy_(parameter_of(*concat_score, "v"));
  CHECK(max_difference(computed(*concat_score, q, k), computed(*additive_score, q, k)) < 1e-14);
  CHECK(
      max_difference(computed(*concat_score, q, k), by_formula(q, k, [&](const Vector& a, const Vector& b, int64_t h) {
                       return additive(*additive_score, a, b, h);
                     })) < 1e-13);
}

TEST_CASE("cosine is the formula, invariant to the lengths of keys and queries", "[attention]") {
  const auto score = made<CosineScore>(kEqual);
  const Tensor q = queries(), k = keys(kQuery), log_beta = parameter_of(*score, "log_beta");
  const Tensor before = computed(*score, q, k);
  CHECK(max_difference(before, by_formula(q, k, [&](const Vector& a, const Vector& b, int64_t h) {
                         return std::exp(element(log_beta, h)) * dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
                       })) < 1e-11);
  CHECK(max_difference(before, computed(*score, q, affine(Variable(k), 30, 0).value())) < 1e-11);
  CHECK(max_difference(before, computed(*score, affine(Variable(q), 0.5, 0).value(), k)) < 1e-11);
  CHECK(all_zero(computed(*score, q, Tensor::zeros_like(k))));
  CHECK(max_difference(computed(CosineScore(kEqual, {.beta = 3}), q.to(DType::kFloat32), q.to(DType::kFloat32))
                           .select(2, 0)
                           .slice(2, 0, 1),
                       Tensor::full({kBatch, kHeads, 1}, 3)) < 1e-5);
}

TEST_CASE("Keras' scores are their formulas", "[attention]") {
  const Tensor q = queries(), k = keys(kQuery);
  const auto dots = made<KerasDotScore>(kEqual);
  const Tensor dot_scale = parameter_of(*dots, "scale");
  CHECK(max_difference(computed(*dots, q, k), by_formula(q, k, [&](const Vector& a, const Vector& b, int64_t h) {
                         return element(dot_scale, h) * dot(a, b);
                       })) < 1e-13);

  const auto concats = made<KerasConcatScore>(kEqual);
  const Tensor scale = parameter_of(*concats, "scale"), weight = parameter_of(*concats, "weight");
  CHECK(max_difference(computed(*concats, q, k), by_formula(q, k, [&](const Vector& a, const Vector& b, int64_t h) {
                         double total = 0;
                         for (int64_t i = 0; i < kQuery; ++i) total += std::tanh(element(scale, h) * (a(i) + b(i)));
                         return element(weight, h) * total;
                       })) < 1e-13);

  const auto additives = made<KerasAdditiveScore>(kEqual);
  const Tensor scales = parameter_of(*additives, "scale");
  const auto expected = [&](bool scaled) {
    return by_formula(q, k, [&](const Vector& a, const Vector& b, int64_t h) {
      double total = 0;
      for (int64_t i = 0; i < kQuery; ++i) total += (scaled ? element(scales, h, i) : 1) * std::tanh(a(i) + b(i));
      return total;
    });
  };
  CHECK(max_difference(computed(*additives, q, k), expected(true)) < 1e-13);

  // Without a scale it is additive with W = U = I and v = 1.
  const auto plain = made<KerasAdditiveScore>(kEqual, KerasAdditiveScoreOptions{.use_scale = false});
  CHECK(plain->parameters().empty());
  CHECK(max_difference(computed(*plain, q, k), expected(false)) < 1e-13);
  const auto identical = made<AdditiveScore>(ScoreSizes{.query = kQuery, .heads = kHeads});
  parameter_of(*identical, "v").fill_(1);
  for (const char* name : {"w.weight", "u.weight"}) {
    Tensor identity = parameter_of(*identical, name);
    identity.fill_(0);
    for (int64_t i = 0; i < kQuery; ++i) identity.select(1, i).slice(1, i, i + 1).fill_(1);
  }
  CHECK(max_difference(computed(*identical, q, k), computed(*plain, q, k)) < 1e-14);
}

TEST_CASE("global attention is the softmax of the score under every mask", "[attention]") {
  const Extents e{2, 2, 5, 7};
  const Tensor q = random_tensor({2, 5, 2, kQuery}, DType::kFloat64, 1);
  const Tensor k = random_tensor({2, 7, 2, kQuery}, DType::kFloat64, 2);
  const Tensor v = random_tensor({2, 7, 2, 3}, DType::kFloat64, 3);
  const NoGrad no_grad;
  for (const MaskKind& kind : mask_kinds()) {
    INFO(kind.name);
    GlobalAttention attention(make_score(ScoreKind::kScaledDot, kEqual), {.dropout = 0.5});
    attention.eval();
    const AttentionResult got = attention(Variable(q), Variable(k), Variable(v), kind.make(e, DType::kFloat64), true);
    const Attended expected = attend_by_formula(q, k, v, kind);
    CHECK(max_difference(got.output.value(), expected.output) < 1e-13);
    CHECK(max_difference(got.weights.value(), expected.weights) < 1e-13);
  }
}

TEST_CASE("dropout of the weights keeps their expectation, and evaluation ignores it", "[attention]") {
  const NoGrad no_grad;
  GlobalAttention attention(make_score(ScoreKind::kAdditive, kUnequal), {.dropout = 0.3});
  attention.to(DType::kFloat64);
  const Variable q(queries()), k(keys(kKey)), v(random_tensor({kBatch, kKeys, kHeads, 2}, DType::kFloat64, 3));
  attention.eval();
  const Tensor evaluated = attention(q, k, v).output.value();
  attention.train();
  const AttentionResult once = attention(q, k, v, {}, true);
  CHECK_FALSE(same_values(once.output.value(), evaluated));
  for (double total : values(sum(once.weights, {3}).value())) CHECK(std::abs(total - 1) < 1e-13);
  constexpr int kDraws = 4000;
  Variable mean(Tensor::zeros_like(evaluated));
  for (int i = 0; i < kDraws; ++i) mean = mean + attention(q, k, v).output * (1.0 / kDraws);
  CHECK(max_difference(mean.value(), evaluated) < 0.08);  // about 5 standard deviations of the mean
}

TEST_CASE("scores refuse what does not fit, by name", "[attention][errors]") {
  struct Model : Module {
    GlobalAttention& attn = child<GlobalAttention>("attn", make_score(ScoreKind::kGeneral, kUnequal));
  } model;
  const auto zeros = [](const Shape& shape) { return Variable(Tensor::zeros(shape)); };
  const Variable q = zeros({2, 3, 2, 5}), k = zeros({2, 4, 2, 3});
  CHECK(error_text<ShapeError>([&] {
          model.attn(zeros({2, 3, 2, 4}), k, k);
        }) == "attn.score: q is [2, 3, 2, 4], expected [B, T, 2, 5]");
  CHECK(error_text<ShapeError>([&] {
          model.attn(zeros({2, 3, 4, 5}), k, k);
        }) == "attn.score: q is [2, 3, 4, 5], expected [B, T, 2, 5]");
  CHECK(error_text<ShapeError>([&] {
          model.attn(q, zeros({2, 4, 2, 5}), k);
        }) == "attn.score: k is [2, 4, 2, 5], expected [B, S, H, 3] with heads that divide 2");
  CHECK(error_text<ShapeError>([&] {
          model.attn(q, zeros({2, 4, 3, 3}), zeros({2, 4, 3, 3}));
        }) == "attn.score: k is [2, 4, 3, 3], expected [B, S, H, 3] with heads that divide 2");
  CHECK(error_text<ValueError>([] { DotScore{kUnequal}; }) ==
        "DotScore: width of query 5 and key 3 given, expected equal ones");
  CHECK_THROWS_AS(CosineScore(kUnequal), ValueError);
  CHECK_THROWS_AS(CosineScore(kEqual, {.beta = 0}), ValueError);
  CHECK_THROWS_AS(KerasDotScore(kUnequal), ValueError);
  CHECK_THROWS_AS(KerasConcatScore(kUnequal), ValueError);
  CHECK_THROWS_AS(KerasAdditiveScore(kUnequal), ValueError);
  CHECK(error_text<ValueError>([] { AdditiveScore{ScoreSizes{.query = 4, .heads = 0}}; }) ==
        "Score: widths of query 4, key 4, hidden 4 and 0 heads given, expected at least 1 each");
  CHECK_THROWS_AS(GlobalAttention(make_score(ScoreKind::kDot, kEqual), {.dropout = 1}), ValueError);
  CHECK_THROWS_AS(GlobalAttention(nullptr), ValueError);
}
