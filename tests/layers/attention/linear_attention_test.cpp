#include "layers/attention/linear_attention.h"

#include <cmath>

#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/attention/performer.h"
#include "tests/layers/attention/similarity.h"
#include "tests/support/errors.h"

using namespace attune;
using namespace attune::testing;

namespace {

// The second crosses the blocks of the causal form, the last has grouped heads by its operands.
const Extents kCases[] = {{2, 2, 5, 7}, {1, 2, 140, 150}, {2, 2, 150, 70}, {3, 1, 7, 5}};

double phi_elu(double x) { return x > 0 ? x + 1 : std::exp(x); }

Similarity linear_similarity(const Operands& in) {
  return [&in](int64_t b, int64_t h, int64_t t, int64_t s) {
    const double* q = head_row(in.q, b, t, h);
    const double* k = head_row(in.k, b, s, h / (in.q.dim(2) / in.k.dim(2)));
    double total = 0;
    for (int64_t i = 0; i < in.q.dim(3); ++i) total += phi_elu(q[i]) * phi_elu(k[i]);
    return total;
  };
}

/// sum_i exp(w_i q) exp(w_i k - |k|^2 / 2), q and k divided by K^(1/4); what depends on q alone cancels.
Similarity performer_similarity(const Operands& in, const Tensor& directions) {
  return [&in, directions](int64_t b, int64_t h, int64_t t, int64_t s) {
    const int64_t size = in.q.dim(3);
    const double* q = head_row(in.q, b, t, h);
    const double* k = head_row(in.k, b, s, h / (in.q.dim(2) / in.k.dim(2)));
    const double scale = std::pow(static_cast<double>(size), -0.25);
    double total = 0;
    for (int64_t i = 0; i < directions.dim(0); ++i) {
      const double* w = directions.data<double>() + i * size;
      total += std::exp(scale * dot(w, q, size) + scale * dot(w, k, size) - scale * scale * dot(k, k, size) / 2);
    }
    return total;
  };
}

}  // namespace

TEST_CASE("linear attention is its quadratic form under every mask, weights or not", "[attention][linear]") {
  for (const Extents& e : kCases) {
    for (int64_t key_heads : {e.heads, int64_t{1}}) {
      const Operands in = operands(e, DType::kFloat64, key_heads);
      Performer performer(4, {.features = 6});
      performer.to(DType::kFloat64);
      LinearAttention linear;
      const std::pair<AttentionCore*, Similarity> variants[] = {
          {&linear, linear_similarity(in)}, {&performer, performer_similarity(in, performer.state_dict()[0].second)}};
      for (const auto& [core, similarity] : variants) {
        for (const MaskKind& kind : mask_kinds()) {
          INFO(kind.name << ", T " << e.queries << ", S " << e.keys << ", key heads " << key_heads);
          const Attended expected = attend_by_similarity(e, in.v, kind, similarity);
          const AttentionMask mask = kind.make(e, DType::kFloat64);
          const NoGrad no_grad;
          const auto run = [&](bool weights) {
            return (*core)(Variable(in.q), Variable(in.k), Variable(in.v), mask, weights);
          };
          CHECK(max_difference(run(false).output.value(), expected.output) < 1e-12);
          const AttentionResult with = run(true);
          CHECK(max_difference(with.output.value(), expected.output) < 1e-12);
          CHECK(max_difference(with.weights.value(), expected.weights) < 1e-12);
        }
      }
    }
  }
}

TEST_CASE("the linear form's gradients are the quadratic form's", "[attention][linear]") {
  const Extents e{2, 2, 140, 150};
  const Operands in = operands(e);
  LinearAttention linear;
  Performer performer(4);
  performer.to(DType::kFloat64);
  for (AttentionCore* core : {static_cast<AttentionCore*>(&linear), static_cast<AttentionCore*>(&performer)}) {
    for (const char* name :
         {"none", "padding", "causal", "causal, last", "causal, offset -2", "causal & padding", "keep [B, 1, 1, S]"}) {
      INFO(name);
      const AttentionMask mask = kind_named(name).make(e, DType::kFloat64);
      const std::vector<Tensor> a = core_results(*core, in, mask, false);
      const std::vector<Tensor> b = core_results(*core, in, mask, true);
      for (size_t i = 0; i < a.size(); ++i) CHECK(max_difference(a[i], b[i]) < 1e-11);
    }
  }
}

TEST_CASE("linear attention: what is masked takes part in nothing", "[attention][linear][contract]") {
  LinearAttention linear;
  Performer performer(4);
  performer.to(DType::kFloat64);
  for (const MaskKind& kind : mask_kinds()) {
    INFO(kind.name);
    check_masked_keys(linear, kSmall, kind);
    check_masked_keys(performer, kSmall, kind);
  }
}

TEST_CASE("linear attention has right gradients under every mask", "[attention][linear][gradcheck]") {
  LinearAttention linear;
  Performer performer(4, {.features = 3});
  for (const MaskKind& kind : mask_kinds()) {
    for (bool weights : {false, true}) {
      check_core_gradients(linear, kind, weights);
      check_core_gradients(performer, kind, weights);
    }
  }
}

TEST_CASE("contract 3.3: a later token leaves causal linear attention bitwise unchanged", "[attention][linear]") {
  const Extents e{1, 2, 140, 140};
  LinearAttention linear;
  Performer performer(4);
  for (AttentionCore* core : {static_cast<AttentionCore*>(&linear), static_cast<AttentionCore*>(&performer)}) {
    const Operands in = operands(e, DType::kFloat32);
    const auto once = [&](const Operands& x) {
      const NoGrad no_grad;
      return (*core)(Variable(x.q), Variable(x.k), Variable(x.v), AttentionMask::causal()).output.value();
    };
    const Tensor before = once(in);
    for (int64_t t : {0, 30, 63, 64, 100, 138}) {
      Operands changed{in.q, in.k.clone(), in.v.clone()};
      for (Tensor* x : {&changed.k, &changed.v}) x->slice(1, t + 1, e.keys).fill_(3);
      const Tensor after = once(changed);
      CHECK(same_values(before.slice(1, 0, t + 1), after.slice(1, 0, t + 1)));
      CHECK_FALSE(same_values(before.select(1, t + 1), after.select(1, t + 1)));
    }
  }
}

TEST_CASE("Performer's directions are orthogonal in blocks, with lengths of normal vectors", "[attention][linear]") {
  RandomStream stream(5);
  Performer performer(8, {.features = 20}, stream);
  const Tensor drawn = performer.state_dict()[0].second.to(DType::kFloat64);
  CHECK(drawn.shape() == Shape{20, 8});
  double mean_square = 0;
  for (int64_t i = 0; i < 20; ++i) {
    const double* a = drawn.data<double>() + i * 8;
    mean_square += dot(a, a, 8) / 20;
    for (int64_t j = i / 8 * 8; j < i; ++j) {
      const double* b = drawn.data<double>() + j * 8;
      CHECK(std::abs(dot(a, b, 8)) < 1e-5 * std::sqrt(dot(a, a, 8) * dot(b, b, 8)));
    }
  }
  CHECK(mean_square > 4);
  CHECK(mean_square < 14);
  performer.redraw(stream);
  CHECK(max_difference(drawn, performer.state_dict()[0].second) > 0.1);
  CHECK(Performer(8).state_dict()[0].second.dim(0) == 17);  // 8 log 8 = 16.6
  CHECK(performer.parameter_count() == 0);
}

TEST_CASE("Performer estimates softmax attention, the better the more features", "[attention][linear]") {
  const NoGrad no_grad;
  const Extents e{1, 1, 6, 9};
  const Operands in = operands(e);
  const Attended exact = attend_by_formula(in.q, in.k, in.v, kind_named("causal, last"));
  RandomStream stream(3);
  const auto error_of = [&](PerformerOptions options) {
    double total = 0;
    for (int i = 0; i < 10; ++i) {
      Performer performer(4, options, stream);
      performer.to(DType::kFloat64);
      const Tensor weights =
          performer(Variable(in.q), Variable(in.k), Variable(in.v), AttentionMask::causal(Align::kLast), true)
              .weights.value();
      const Variable difference = Variable(weights) - Variable(exact.weights);
      total += sum(square(difference)).item() / 10;
    }
    return total;
  };
  const double few = error_of({.features = 16});
  const double many = error_of({.features = 4096});
  CHECK(many < few / 10);
  CHECK(many < 4e-2);
  CHECK(error_of({.features = 4096, .orthogonal = false}) < 8e-2);
}

TEST_CASE("contract 3.9: large operands do not overflow linear attention", "[attention][linear]") {
  const NoGrad no_grad;
  const Extents e{1, 2, 5, 7};
  Operands in = operands(e, DType::kFloat32);
  LinearAttention linear;
  Performer performer(4);
  for (double scale : {100.0, -100.0}) {
    for (AttentionCore* core : {static_cast<AttentionCore*>(&linear), static_cast<AttentionCore*>(&performer)}) {
      const Variable y =
          (*core)(Variable(in.q) * scale, Variable(in.k) * scale, Variable(in.v), AttentionMask::causal()).output;
      for (double value : values(y.value())) CHECK(std::isfinite(value));
    }
  }
}

TEST_CASE("linear attention's errors name the argument", "[attention][linear][errors]") {
  LinearAttention linear;
  const auto leaf = [](const Shape& shape) { return Variable(Tensor::zeros(shape)); };
  CHECK(error_text<ShapeError>([&] {
          linear(leaf({1, 2, 3, 4}), leaf({1, 5, 2, 4}), leaf({1, 5, 2, 4}));
        }).starts_with("attention: q is [1, 2, 3, 4], its features [1, 2, 3, 4]"));
  Performer performer(4);
  CHECK(error_text<ShapeError>([&] {
          performer(leaf({1, 2, 2, 6}), leaf({1, 5, 2, 6}), leaf({1, 5, 2, 6}));
        }) == "Performer: k is [1, 5, 2, 6], expected heads of size 4");
  CHECK_THROWS_AS(Performer(0), ValueError);
  CHECK_THROWS_AS(Performer(4, {.features = -1}), ValueError);
}
