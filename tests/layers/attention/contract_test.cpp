// The contract of attention by the numbers of its rules: values, masks and gradients on every path of ScaledDotProduct.

#include "tests/layers/attention/contract.h"

#include <cmath>

#include "autograd/gradcheck.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"

using namespace attune;
using namespace attune::testing;

TEST_CASE("contract 1.2, 1.4, 1.7, 3.1, 3.2, 3.4, 3.5: output and weights are the formula's on every path",
          "[attention][contract]") {
  for (const Extents& e : kExtents) {
    for (DType dtype : kFloatDTypes) {
      const Operands in = operands(e, dtype);
      for (const MaskKind& kind : mask_kinds()) {
        const Attended expected = attend_by_formula(in.q, in.k, in.v, kind);
        for (AttentionPath path : kPaths) {
          INFO(kind.name << ", " << text(path) << ", " << dtype_name(dtype) << ", T " << e.queries << ", S " << e.keys);
          ScaledDotProduct core({.dropout = 0.5, .path = path});
          core.eval();
          const AttentionMask mask = kind.make(e, dtype);
          const Variable q(in.q, true), k(in.k, true), v(in.v, true);
          const auto check = [&](bool want) {
            const AttentionResult result = core(q, k, v, mask, want);
            CHECK(max_difference(result.output.value(), expected.output) <= tolerance(dtype));
            CHECK(result.weights.defined() == want);
            if (want) CHECK(max_difference(result.weights.value(), expected.weights) <= tolerance(dtype));
          };
          check(false);
          check(true);
          const NoGrad no_grad;
          check(false);
          check(true);
        }
      }
    }
  }
  Tape::current().clear();
}

TEST_CASE("scale and softcap are the formula's", "[attention][contract]") {
  const Operands in = operands(kSmall);
  for (AttentionPath path : kPaths) {
    for (const char* name : {"causal", "all of them"}) {
      const MaskKind& kind = kind_named(name);
      const Attended expected = attend_by_formula(in.q, in.k, in.v, kind, 0.7, 1.5);
      const Run got =
          run(in, kind.make(kSmall, DType::kFloat64), {.path = path, .weights = true, .scale = 0.7, .softcap = 1.5});
      CHECK(max_difference(got.output, expected.output) < 1e-13);
      CHECK(max_difference(got.weights, expected.weights) < 1e-13);
    }
  }
}

TEST_CASE("scores that the norms of queries and keys do not bound are the formula's", "[attention][contract]") {
  // The fused kernel takes the bound for the maximum where it is small; here it is some 3000.
  constexpr double kScale = 2000;
  const Extents e = kExtents[1];
  const Operands in = operands(e);
  for (const MaskKind& kind : mask_kinds()) {
    INFO(kind.name);
    const Attended expected = attend_by_formula(in.q, in.k, in.v, kind, kScale);
    const AttentionMask mask = kind.make(e, DType::kFloat64);
    const Run fused = run(in, mask, {.scale = kScale});
    const Run composed = run(in, mask, {.path = AttentionPath::kComposed, .scale = kScale});
    CHECK(max_difference(fused.output, expected.output) < 1e-11);
    CHECK(max_difference(fused.dq, composed.dq) < 1e-8);
    CHECK(max_difference(fused.dk, composed.dk) < 1e-8);
    CHECK(max_difference(fused.dv, composed.dv) < 1e-11);
  }
}

TEST_CASE("contract 1.2, 1.3, 3.1: what is masked is exactly 0, gradients too", "[attention][contract]") {
  for (DType dtype : kFloatDTypes) {
    for (const Extents& e : {kExtents[0], kExtents[2]}) {
      const Operands in = operands(e, dtype);
      for (const MaskKind& kind : mask_kinds()) {
        for (AttentionPath path : kPaths) {
          for (double dropout : {0.0, 0.4}) {
            INFO(kind.name << ", " << text(path) << ", " << dtype_name(dtype) << ", dropout " << dropout);
            const Run got = run(in, kind.make(e, dtype),
                                {.path = path, .weights = path == AttentionPath::kComposed, .dropout = dropout});
            int wrong = 0;
            for (int64_t b = 0; b < e.batch; ++b) {
              for (int64_t h = 0; h < e.heads; ++h) {
                const auto row = [&](const Tensor& x, int64_t i) { return x.select(0, b).select(0, i).select(0, h); };
                for (int64_t t = 0; t < e.queries; ++t) {
                  if (query_has_key(kind, e, b, h, t)) continue;
                  wrong += !all_zero(row(got.output, t)) || !all_zero(row(got.dq, t));
                  if (got.weights.defined()) wrong += !all_zero(got.weights.select(0, b).select(0, h).select(0, t));
                }
                for (int64_t s = 0; s < e.keys; ++s) {
                  if (key_is_used(kind, e, b, h, s)) continue;
                  wrong += !all_zero(row(got.dk, s)) || !all_zero(row(got.dv, s));
                }
              }
            }
            CHECK(wrong == 0);
          }
        }
      }
    }
  }
}

TEST_CASE("contract 1.3, 3.6: NaN and infinity in masked keys, values and scores change nothing",
          "[attention][contract]") {
  for (DType dtype : kFloatDTypes) {
    for (const Extents& e : kExtents) {
      const Operands clean = operands(e, dtype);
      for (const MaskKind& kind : mask_kinds()) {
        for (double poison : {kNan, kInfinity}) {
          if (e.keys > 100 && (std::isinf(poison) || dtype == DType::kFloat64))
            continue;  // slow, and shown by the small
          Operands dirty{clean.q, clean.k.clone(), clean.v.clone()};
          const Tensor bias = random_tensor({e.batch, e.heads, e.queries, e.keys}, dtype, 5);
          Tensor dirty_bias = bias.clone();
          const Tensor masked = masked_positions(kind, e);
          poison_where(masked, poison, dirty_bias);
          poison_unused_keys(masked, poison, dirty.k);
          poison_unused_keys(masked, poison, dirty.v);
          for (AttentionPath path : kPaths) {
            const RunOptions options{.path = path, .weights = path == AttentionPath::kComposed};
            INFO(kind.name << ", " << text(path) << ", " << dtype_name(dtype) << ", " << poison << ", T " << e.queries);
            const AttentionMask mask = kind.make(e, dtype);
            const Run a = run(clean, mask, options, Variable(bias, true));
            const Run b = run(dirty, mask, options, Variable(dirty_bias, true));
            CHECK(same_values(a.output, b.output));
            if (a.weights.defined()) CHECK(same_values(a.weights, b.weights));
            CHECK(same_values(a.dq, b.dq));
            CHECK(same_values(a.dk, b.dk));
            CHECK(same_values(a.dv, b.dv));
            CHECK(same_values(a.dbias, b.dbias));
            // The fused kernel's weights.
            const NoGrad no_grad;
            ScaledDotProduct core({.path = path});
            const auto weights = [&](const Operands& in, const Tensor& added) {
              return core(Variable(in.q), Variable(in.k), Variable(in.v), mask & AttentionMask::bias(Variable(added)),
                          true)
                  .weights.value();
            };
            CHECK(same_values(weights(clean, bias), weights(dirty, dirty_bias)));
          }
        }
      }
    }
  }
}

TEST_CASE("contract 3.6: NaN in a later token reaches no earlier query, and no gradient of theirs",
          "[attention][contract]") {
  const Extents e{2, 2, 6, 6};
  const Operands clean = operands(e);
  const int64_t last = e.keys - 1;
  Operands dirty{clean.q.clone(), clean.k.clone(), clean.v.clone()};
  for (Tensor* x : {&dirty.q, &dirty.k, &dirty.v}) x->select(1, last).fill_(kNan);
  Tensor upstream = random_tensor({2, 6, 2, 3}, DType::kFloat64, 9);
  upstream.select(1, last).fill_(0);
  // The composed path keeps the values only: it multiplies the query's NaN by the zeros that come back.
  for (AttentionPath path : kPaths) {
    INFO(text(path));
    const Run a = run(clean, AttentionMask::causal(), {.path = path, .upstream = upstream});
    const Run b = run(dirty, AttentionMask::causal(), {.path = path, .upstream = upstream});
    CHECK(same_values(a.output.slice(1, 0, last), b.output.slice(1, 0, last)));
    CHECK(same_values(a.dq.slice(1, 0, last), b.dq.slice(1, 0, last)));
    if (path == AttentionPath::kComposed) continue;
    CHECK(same_values(a.dk.slice(1, 0, last), b.dk.slice(1, 0, last)));
    CHECK(same_values(a.dv.slice(1, 0, last), b.dv.slice(1, 0, last)));
    CHECK(all_zero(b.dk.select(1, last)));
    CHECK(all_zero(b.dv.select(1, last)));
  }
}

TEST_CASE("contract 1.4: fused and composed agree in value and gradient, with dropout too", "[attention][contract]") {
  for (const Extents& e : kExtents) {
    const Operands in = operands(e);
    for (const MaskKind& kind : mask_kinds()) {
      for (double dropout : {0.0, 0.3}) {
        INFO(kind.name << ", dropout " << dropout << ", T " << e.queries);
        const AttentionMask mask = kind.make(e, DType::kFloat64);
        const auto by = [&](AttentionPath path, const Shape& bias) {
          return run(in, mask, {.path = path, .dropout = dropout, .softcap = 3}, Variable(random_tensor(bias), true));
        };
        for (const Shape& bias :
             {Shape{e.queries, e.keys}, Shape{e.batch, 1, 1, e.keys}, Shape{1, e.heads, e.queries, 1}}) {
          const Run a = by(AttentionPath::kFused, bias);
          const Run b = by(AttentionPath::kComposed, bias);
          const double allowed = 1e-12;
          CHECK(max_difference(a.output, b.output) < allowed);
          CHECK(max_difference(a.dq, b.dq) < allowed);
          CHECK(max_difference(a.dk, b.dk) < allowed);
          CHECK(max_difference(a.dv, b.dv) < allowed);
          CHECK(max_difference(a.dbias, b.dbias) < 10 * allowed);
        }
      }
    }
  }
}

TEST_CASE("contract 1.4, 3.2: asking for weights changes neither output nor gradient", "[attention][contract]") {
  for (DType dtype : kFloatDTypes) {
    const Operands in = operands(kSmall, dtype);
    for (const MaskKind& kind : mask_kinds()) {
      for (AttentionPath path : kPaths) {
        for (double dropout : {0.0, 0.4}) {
          INFO(kind.name << ", " << text(path) << ", " << dtype_name(dtype) << ", dropout " << dropout);
          const AttentionMask mask = kind.make(kSmall, dtype);
          const Run without = run(in, mask, {.path = path, .dropout = dropout});
          const Run with = run(in, mask, {.path = path, .weights = true, .dropout = dropout});
          const double allowed = tolerance(dtype);
          CHECK(max_difference(without.output, with.output) <= allowed);
          CHECK(max_difference(without.dq, with.dq) <= allowed);
          CHECK(max_difference(without.dk, with.dk) <= allowed);
          CHECK(max_difference(without.dv, with.dv) <= allowed);
          // Weights are those before dropout.
          CHECK(max_difference(with.weights, run(in, mask, {.path = path, .weights = true}).weights) == 0);
        }
      }
    }
  }
}

TEST_CASE("contract 1.7, 3.14: weights sum to 1 or 0 and times V give the output", "[attention][contract]") {
  const NoGrad no_grad;
  const Operands in = operands(kSmall);
  for (const MaskKind& kind : mask_kinds()) {
    for (AttentionPath path : kPaths) {
      INFO(kind.name << ", " << text(path));
      ScaledDotProduct core({.path = path});
      const AttentionResult result =
          core(Variable(in.q), Variable(in.k), Variable(in.v), kind.make(kSmall, DType::kFloat64), true);
      for (double total : values(sum(result.weights, {3}).value())) {
        CHECK((total == 0 || std::abs(total - 1) < 1e-13));
      }
      const Variable product = matmul(result.weights, permute(Variable(in.v), {0, 2, 1, 3}));
      CHECK(max_difference(permute(product, {0, 2, 1, 3}).value(), result.output.value()) < 1e-13);
    }
  }
}

TEST_CASE("attention has right gradients under every mask", "[attention][contract][gradcheck]") {
  const Extents e{2, 2, 3, 4};
  const Operands in = operands(e);
  for (const MaskKind& kind : mask_kinds()) {
    for (AttentionPath path : kPaths) {
      INFO(kind.name << ", " << text(path));
      ScaledDotProduct core({.softcap = 2, .path = path});
      const AttentionMask mask = kind.make(e, DType::kFloat64);
      const GradcheckReport report = gradcheck(
          [&](std::span<const Variable> x) { return core(x[0], x[1], x[2], mask & AttentionMask::bias(x[3])).output; },
          {in.q, in.k, in.v, random_tensor({1, 2, 3, 1})});
      INFO(report.to_string());
      CHECK(report.ok);
    }
  }
}

TEST_CASE("contract 3.24: gradients flow through returned weights: the doubly stochastic penalty",
          "[attention][contract][gradcheck]") {
  const Extents e{2, 2, 3, 4};
  const Operands in = operands(e);
  for (AttentionPath path : kPaths) {
    for (const char* name : {"none", "causal & padding"}) {
      ScaledDotProduct core({.path = path});
      const AttentionMask mask = kind_named(name).make(e, DType::kFloat64);
      // sum_s (1 - sum_t weights)^2 (Xu et al., 2015, eq. 14), beside the output.
      const GradcheckReport report = gradcheck(
          [&](std::span<const Variable> x) {
            const AttentionResult result = core(x[0], x[1], x[2], mask, true);
            return std::vector<Variable>{result.output, square(sum(result.weights, {2}) - 1.0)};
          },
          {in.q, in.k, in.v});
      INFO(text(path) << ", " << name << ": " << report.to_string());
      CHECK(report.ok);
    }
  }
}
