// The contract of attention (what every path through ScaledDotProduct must keep), by the numbers of its rules and
// checks.

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>

#include "autograd/gradcheck.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/attention/scaled_dot_product.h"
#include "tests/support/attention.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr AttentionPath kPaths[] = {AttentionPath::kFused, AttentionPath::kComposed};
constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat64};
// The second crosses the blocks of the fused kernel.
const Extents kExtents[] = {{2, 2, 5, 7}, {1, 2, 140, 300}, {3, 1, 7, 5}};
const Extents kSmall = kExtents[0];

// The fused kernel's 1 / (1 - p) is a float32 in float64 too.
constexpr double kDropoutScale = 1e-6;

double tolerance(DType dtype) { return dtype == DType::kFloat32 ? 2e-6 : 1e-13; }

const MaskKind& kind_named(const std::string& name) {
  for (const MaskKind& kind : mask_kinds()) {
    if (kind.name == name) return kind;
  }
  FAIL("no mask kind " << name);
  return mask_kinds().front();
}

struct Operands {
  Tensor q, k, v;
};

Operands operands(const Extents& e, DType dtype = DType::kFloat64, int64_t key_heads = 0) {
  if (key_heads == 0) key_heads = e.heads;
  return {random_tensor({e.batch, e.queries, e.heads, 4}, dtype, 1),
          random_tensor({e.batch, e.keys, key_heads, 4}, dtype, 2),
          random_tensor({e.batch, e.keys, key_heads, 3}, dtype, 3)};
}

std::string text(AttentionPath path) { return path == AttentionPath::kFused ? "fused" : "composed"; }

/// What attention gives and what it sends back for an upstream gradient of random numbers.
struct Run {
  Tensor output, weights, dq, dk, dv, dbias;
};

struct RunOptions {
  AttentionPath path = AttentionPath::kFused;
  bool weights = false;
  double dropout = 0;
  double scale = 0;
  double softcap = 0;
  Tensor upstream{};  // random when there is none
};

Run run(const Operands& in, const AttentionMask& mask, const RunOptions& options, const Variable& bias = {}) {
  manual_seed(77);
  ScaledDotProduct core(
      {.scale = options.scale, .softcap = options.softcap, .dropout = options.dropout, .path = options.path});
  const Variable q(in.q, true), k(in.k, true), v(in.v, true);
  const AttentionMask whole = bias.defined() ? mask & AttentionMask::bias(bias) : mask;
  const AttentionResult result = core(q, k, v, whole, options.weights);
  const Tensor dy =
      options.upstream.defined() ? options.upstream : random_tensor(result.output.shape(), in.q.dtype(), 9);
  result.output.backward(dy);
  Run out{result.output.value(), {}, q.grad(), k.grad(), v.grad(), bias.grad()};
  if (options.weights) out.weights = result.weights.value();
  return out;
}

/// Whether any query of a head may attend to key s of sample b, and whether query t has any key.
bool key_is_used(const MaskKind& kind, const Extents& e, int64_t b, int64_t h, int64_t s) {
  for (int64_t t = 0; t < e.queries; ++t) {
    if (kind.allows(e, b, h, t, s)) return true;
  }
  return false;
}

bool query_has_key(const MaskKind& kind, const Extents& e, int64_t b, int64_t h, int64_t t) {
  for (int64_t s = 0; s < e.keys; ++s) {
    if (kind.allows(e, b, h, t, s)) return true;
  }
  return false;
}

/// bool [B, H, T, S], true where the mask does not allow.
Tensor masked_positions(const MaskKind& kind, const Extents& e) {
  Tensor masked = Tensor::empty({e.batch, e.heads, e.queries, e.keys}, DType::kBool);
  bool* out = masked.data<bool>();
  for (int64_t b = 0; b < e.batch; ++b) {
    for (int64_t h = 0; h < e.heads; ++h) {
      for (int64_t t = 0; t < e.queries; ++t) {
        for (int64_t s = 0; s < e.keys; ++s) *out++ = !kind.allows(e, b, h, t, s);
      }
    }
  }
  return masked;
}

void poison_where(const Tensor& masked, double poison, Tensor& x) {
  const bool* at = masked.data<bool>();
  visit_floating(x.dtype(), "poison", [&]<class T>(T) {
    for (int64_t i = 0; i < x.numel(); ++i) {
      if (at[i]) x.data<T>()[i] = static_cast<T>(poison);
    }
  });
}

/// x [B, S, H, K]: the keys that no query of the head may attend to.
void poison_unused_keys(const Tensor& masked, double poison, Tensor& x) {
  for (int64_t b = 0; b < x.dim(0); ++b) {
    for (int64_t h = 0; h < x.dim(2); ++h) {
      const Tensor head = masked.select(0, b).select(0, h).contiguous();  // [T, S]
      for (int64_t s = 0; s < x.dim(1); ++s) {
        bool used = false;
        for (int64_t t = 0; t < head.dim(0); ++t) used |= !head.data<bool>()[t * head.dim(1) + s];
        if (!used) x.select(0, b).select(0, s).select(0, h).fill_(poison);
      }
    }
  }
}

}  // namespace

TEST_CASE("contract 1.2, 1.4, 1.7, 3.1, 3.2, 3.4, 3.5: output and weights are the formula's on every path",
          "[attention][contract]") {
  for (const Extents& e : kExtents) {
    for (DType dtype : kDTypes) {
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

TEST_CASE("contract 1.2, 1.3, 3.1: what is masked is exactly 0, gradients too", "[attention][contract]") {
  for (DType dtype : kDTypes) {
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
  for (DType dtype : kDTypes) {
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
          const double allowed = dropout > 0 ? kDropoutScale : 1e-12;
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
  for (DType dtype : kDTypes) {
    const Operands in = operands(kSmall, dtype);
    for (const MaskKind& kind : mask_kinds()) {
      for (AttentionPath path : kPaths) {
        for (double dropout : {0.0, 0.4}) {
          INFO(kind.name << ", " << text(path) << ", " << dtype_name(dtype) << ", dropout " << dropout);
          const AttentionMask mask = kind.make(kSmall, dtype);
          const Run without = run(in, mask, {.path = path, .dropout = dropout});
          const Run with = run(in, mask, {.path = path, .weights = true, .dropout = dropout});
          const double allowed = dtype == DType::kFloat32 ? 2e-6 : dropout > 0 ? kDropoutScale : 1e-13;
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

TEST_CASE("contract 3.3: with causal and dropout, a changed token leaves earlier outputs bitwise as they were",
          "[attention][contract]") {
  const Extents e{2, 2, 9, 9};
  for (DType dtype : kDTypes) {
    const Operands in = operands(e, dtype);
    for (AttentionPath path : kPaths) {
      const RunOptions options{.path = path, .dropout = 0.5};
      const Run before = run(in, AttentionMask::causal(), options);
      for (int64_t t = 0; t + 1 < e.queries; ++t) {
        Operands changed{in.q.clone(), in.k.clone(), in.v.clone()};
        for (Tensor* x : {&changed.q, &changed.k, &changed.v}) x->select(1, t + 1).fill_(5);
        const Run after = run(changed, AttentionMask::causal(), options);
        CHECK(same_values(before.output.slice(1, 0, t + 1), after.output.slice(1, 0, t + 1)));
      }
    }
  }
}

TEST_CASE("contract 3.8: a float mask is added to the scores and gets its gradient", "[attention][contract]") {
  const Operands in = operands(kSmall);
  const Variable bias(random_tensor({kSmall.queries, kSmall.keys}), true);
  for (AttentionPath path : kPaths) {
    Variable(bias).zero_grad();
    const Run got = run(in, AttentionMask(), {.path = path}, bias);
    CHECK(max_difference(got.output, run(in, AttentionMask(), {.path = path}).output) > 0.01);
    REQUIRE(got.dbias.defined());
    CHECK(got.dbias.shape() == bias.shape());
    // Adding the same to a whole row changes nothing: its gradient sums to 0.
    for (double total : values(sum(Variable(got.dbias), {1}).value())) CHECK(std::abs(total) < 1e-13);
    CHECK_FALSE(all_zero(got.dbias));
  }
}

TEST_CASE("contract 3.9: scores of +-1e4 do not overflow", "[attention][contract]") {
  for (DType dtype : kDTypes) {
    const Operands in = operands(kSmall, dtype);
    for (AttentionPath path : kPaths) {
      for (double scale : {1e4, -1e4}) {
        const Run got = run(in, AttentionMask::causal(),
                            {.path = path, .weights = path == AttentionPath::kComposed, .scale = scale});
        const Attended expected = attend_by_formula(in.q, in.k, in.v, kind_named("causal"), scale);
        CHECK(max_difference(got.output, expected.output) < 0.02);
        for (const Tensor* x : {&got.output, &got.dq, &got.dk, &got.dv}) {
          for (double v : values(*x)) CHECK(std::isfinite(v));
        }
      }
    }
  }
}

TEST_CASE("contract 3.10: a constant added to a row of scores changes nothing", "[attention][contract]") {
  const Operands in = operands(kSmall);
  for (AttentionPath path : kPaths) {
    const Run plain = run(in, AttentionMask::causal(), {.path = path, .weights = true});
    const Variable rows(random_tensor({kSmall.batch, kSmall.heads, kSmall.queries, 1}));
    const Run shifted = run(in, AttentionMask::causal(), {.path = path, .weights = true}, rows);
    CHECK(max_difference(plain.output, shifted.output) < 1e-13);
    CHECK(max_difference(plain.weights, shifted.weights) < 1e-13);
    CHECK(max_difference(plain.dk, shifted.dk) < 1e-13);
  }
}

TEST_CASE("contract 3.11: permuting keys with their values and mask changes nothing", "[attention][contract]") {
  const Operands in = operands(kSmall);
  const Tensor order = Tensor::from<int64_t>({3, 6, 0, 2, 5, 1, 4}, {7});
  const auto permuted = [&](const Tensor& x, int axis) {
    return index_select(Variable(x.to(DType::kFloat64)), axis, order).value();
  };
  const MaskKind& kind = kind_named("keep [B, H, T, S]");
  const Tensor allowed = allowed_keys(kind.make(kSmall, DType::kFloat64).lower(2, 2, 5, 7).spec, 2, 2, 5, 7);
  for (AttentionPath path : kPaths) {
    const Run a = run(in, AttentionMask::keep(allowed), {.path = path, .weights = true});
    const Run b = run({in.q, permuted(in.k, 1), permuted(in.v, 1)},
                      AttentionMask::keep(permuted(allowed, 3).to(DType::kBool)), {.path = path, .weights = true});
    CHECK(max_difference(a.output, b.output) < 1e-13);
    CHECK(max_difference(permuted(a.weights, 3), b.weights) < 1e-13);
    CHECK(max_difference(a.dq, b.dq) < 1e-13);
    CHECK(max_difference(permuted(a.dk, 1), b.dk) < 1e-13);
    CHECK(max_difference(permuted(a.dv, 1), b.dv) < 1e-13);
  }
}

TEST_CASE("contract 3.12: permuting heads permutes", "[attention][contract]") {
  const Extents e{2, 3, 5, 7};
  const Operands in = operands(e);
  const Tensor order = Tensor::from<int64_t>({2, 0, 1}, {3});
  const auto permuted = [&](const Tensor& x) { return index_select(Variable(x), 2, order).value(); };
  for (AttentionPath path : kPaths) {
    const Tensor dy = random_tensor({2, 5, 3, 3}, DType::kFloat64, 9);
    const Run a = run(in, AttentionMask::causal(), {.path = path, .upstream = dy});
    const Run b = run({permuted(in.q), permuted(in.k), permuted(in.v)}, AttentionMask::causal(),
                      {.path = path, .upstream = permuted(dy)});
    CHECK(same_values(permuted(a.output), b.output));
    CHECK(same_values(permuted(a.dq), b.dq));
    CHECK(same_values(permuted(a.dk), b.dk));
    CHECK(same_values(permuted(a.dv), b.dv));
  }
}

TEST_CASE("contract 3.13: grouped key heads equal repeated ones; dK and dV sum over the group",
          "[attention][contract]") {
  for (const int64_t key_heads : {1, 2, 3}) {
    const Extents e{2, 6, 5, 7};
    const int64_t group = e.heads / key_heads;
    const Operands in = operands(e, DType::kFloat64, key_heads);
    const auto repeated = [&](const Tensor& x) {
      Tensor out = Tensor::empty({e.batch, e.keys, e.heads, x.dim(3)}, x.dtype());
      for (int64_t h = 0; h < e.heads; ++h) out.select(2, h).copy_(x.select(2, h / group));
      return out;
    };
    const auto summed = [&](const Tensor& x) {
      return sum(reshape(Variable(x), {e.batch, e.keys, key_heads, group, x.dim(3)}), {3}).value();
    };
    const MaskKind& kind = kind_named("all of them");
    for (AttentionPath path : kPaths) {
      INFO(key_heads << ", " << text(path));
      const AttentionMask mask = kind.make(e, DType::kFloat64);
      const Run grouped = run(in, mask, {.path = path});
      const Run full = run({in.q, repeated(in.k), repeated(in.v)}, mask, {.path = path});
      CHECK(max_difference(grouped.output, full.output) < 1e-13);
      CHECK(max_difference(grouped.dq, full.dq) < 1e-13);
      CHECK(max_difference(grouped.dk, summed(full.dk)) < 1e-13);
      CHECK(max_difference(grouped.dv, summed(full.dv)) < 1e-13);
    }
  }
}

TEST_CASE("contract 1.6, 3.15: dropout keeps the expectation, and evaluation ignores it", "[attention][contract]") {
  const Operands in = operands(kSmall);
  for (AttentionPath path : kPaths) {
    ScaledDotProduct core({.dropout = 0.3, .path = path});
    const NoGrad no_grad;
    const auto call = [&] { return core(Variable(in.q), Variable(in.k), Variable(in.v)).output.value(); };
    core.eval();
    const RandomState before = default_stream().state();
    const Tensor evaluated = call();
    CHECK(default_stream().state() == before);
    core.train();
    CHECK_FALSE(same_values(call(), call()));
    constexpr int kDraws = 4000;
    Tensor mean = Tensor::zeros_like(evaluated);
    for (int i = 0; i < kDraws; ++i) mean = add(Variable(mean), Variable(call()) * (1.0 / kDraws)).value();
    CHECK(max_difference(mean, evaluated) < 0.08);  // about 5 standard deviations of the mean
  }
}

TEST_CASE("contract 3.16, 3.17: a padded batch equals each sequence alone", "[attention][contract]") {
  const Extents e{3, 2, 8, 8};
  const Operands in = operands(e);
  const std::vector<int64_t> lengths{8, 3, 5};
  const Tensor dy = random_tensor({3, 8, 2, 3}, DType::kFloat64, 9);
  for (AttentionPath path : kPaths) {
    Tensor upstream = dy.clone();
    for (int64_t b = 0; b < 3; ++b) upstream.select(0, b).slice(0, lengths[static_cast<size_t>(b)], 8).fill_(0);
    const Run batch = run(in, AttentionMask::padding(Tensor::from(lengths, {3})) & AttentionMask::causal(),
                          {.path = path, .upstream = upstream});
    for (int64_t b = 0; b < 3; ++b) {
      const int64_t n = lengths[static_cast<size_t>(b)];
      const auto part = [&](const Tensor& x) { return x.slice(0, b, b + 1).slice(1, 0, n); };
      const Run alone = run({part(in.q), part(in.k), part(in.v)}, AttentionMask::causal(),
                            {.path = path, .upstream = part(dy).contiguous()});
      CHECK(max_difference(part(batch.output), alone.output) < 1e-13);
      CHECK(max_difference(part(batch.dq), alone.dq) < 1e-13);
      CHECK(max_difference(part(batch.dk), alone.dk) < 1e-13);
      CHECK(max_difference(part(batch.dv), alone.dv) < 1e-13);
    }
  }
}

TEST_CASE("contract 3.18: decoding step by step with cached keys equals the full causal pass",
          "[attention][contract]") {
  const NoGrad no_grad;
  const Extents e{2, 2, 10, 10};
  const Operands in = operands(e);
  for (AttentionPath path : kPaths) {
    ScaledDotProduct core({.path = path});
    const Tensor full = core(Variable(in.q), Variable(in.k), Variable(in.v), AttentionMask::causal()).output.value();
    for (int64_t step : {1, 3}) {
      for (int64_t t = 0; t + step <= e.queries; t += step) {
        const auto upto = [&](const Tensor& x) { return Variable(x.slice(1, 0, t + step)); };
        const Variable q(in.q.slice(1, t, t + step));
        for (const AttentionMask& mask : {AttentionMask::causal(t), AttentionMask::causal(Align::kLast)}) {
          CHECK(max_difference(core(q, upto(in.k), upto(in.v), mask).output.value(), full.slice(1, t, t + step)) <
                1e-13);
        }
      }
    }
  }
}

TEST_CASE("contract 3.20: one-wide, empty and single extents", "[attention][contract]") {
  for (AttentionPath path : kPaths) {
    for (bool weights : {false, true}) {
      INFO(text(path) << ", weights " << weights);
      const auto shapes = [&](const Extents& e, int64_t width) {
        const Operands in{random_tensor({e.batch, e.queries, e.heads, width}),
                          random_tensor({e.batch, e.keys, e.heads, width}),
                          random_tensor({e.batch, e.keys, e.heads, width})};
        const Run got = run(in, AttentionMask(), {.path = path, .weights = weights});
        CHECK(got.output.shape() == Shape{e.batch, e.queries, e.heads, width});
        if (weights) CHECK(got.weights.shape() == Shape{e.batch, e.heads, e.queries, e.keys});
        CHECK(max_difference(got.output, attend_by_formula(in.q, in.k, in.v, mask_kinds().front()).output) < 1e-13);
        CHECK(got.dk.shape() == in.k.shape());
        if (e.keys == 0) CHECK(all_zero(got.output));
        if (e.keys == 0) CHECK(all_zero(got.dq));
        if (e.queries == 0) CHECK(all_zero(got.dk));
        if (e.queries == 0) CHECK(all_zero(got.dv));
      };
      shapes({2, 2, 3, 4}, 1);
      shapes({2, 2, 3, 1}, 4);
      shapes({2, 2, 1, 5}, 4);
      shapes({2, 2, 0, 4}, 4);
      shapes({2, 2, 3, 0}, 4);
      shapes({2, 2, 0, 0}, 4);
      shapes({0, 2, 3, 4}, 4);
    }
  }
}

TEST_CASE("contract 3.22: two runs give bitwise the same gradients", "[attention][contract]") {
  for (DType dtype : kDTypes) {
    const Extents e{3, 4, 150, 150};
    const Operands in = operands(e, dtype);
    const AttentionMask mask = kind_named("causal & padding").make(e, dtype);
    const auto once = [&] {
      return run(in, mask, {.dropout = 0.2}, Variable(random_tensor({e.queries, e.keys}, dtype), true));
    };
    const Run a = once();
    const Run b = once();
    CHECK(same_values(a.output, b.output));
    CHECK(same_values(a.dq, b.dq));
    CHECK(same_values(a.dk, b.dk));
    CHECK(same_values(a.dv, b.dv));
    CHECK(same_values(a.dbias, b.dbias));
  }
}

TEST_CASE("contract 3.25: strided, broadcast and non-contiguous operands", "[attention][contract]") {
  const Operands in = operands(kSmall);
  const AttentionMask mask = kind_named("all of them").make(kSmall, DType::kFloat64);
  const auto by_heads = [](const Tensor& x) { return x.permute({0, 2, 1, 3}).contiguous().permute({0, 2, 1, 3}); };
  const auto by_columns = [](const Tensor& x) { return x.permute({3, 2, 1, 0}).contiguous().permute({3, 2, 1, 0}); };
  const auto padded = [](const Tensor& x) {
    Tensor wide = Tensor::full({x.dim(0), x.dim(1), x.dim(2), x.dim(3) + 3}, kNan, x.dtype());
    Tensor inside = wide.slice(3, 2, 2 + x.dim(3));
    inside.copy_(x);
    return inside;
  };
  for (AttentionPath path : kPaths) {
    const Run plain = run(in, mask, {.path = path});
    for (const auto& seen :
         {std::function<Tensor(const Tensor&)>(by_heads), std::function<Tensor(const Tensor&)>(by_columns),
          std::function<Tensor(const Tensor&)>(padded)}) {
      const Run other = run({seen(in.q), seen(in.k), seen(in.v)}, mask, {.path = path});
      CHECK(max_difference(plain.output, other.output) < 1e-14);
      CHECK(max_difference(plain.dq, other.dq) < 1e-14);
      CHECK(max_difference(plain.dk, other.dk) < 1e-14);
      CHECK(max_difference(plain.dv, other.dv) < 1e-14);
    }
    // Keys and values that all samples and heads share, without copies.
    const auto shared = [](const Tensor& x) { return x.slice(0, 0, 1).slice(2, 0, 1).expand(x.shape()); };
    const Run a = run({in.q, shared(in.k), shared(in.v)}, mask, {.path = path});
    const Run b = run({in.q, shared(in.k).contiguous(), shared(in.v).contiguous()}, mask, {.path = path});
    CHECK(max_difference(a.output, b.output) < 1e-14);
    CHECK(max_difference(a.dk, b.dk) < 1e-14);
    CHECK(max_difference(a.dv, b.dv) < 1e-14);
  }
}

TEST_CASE("contract 3.26: more than 65,535 rows", "[attention][contract]") {
  const Operands in{random_tensor({1, 70000, 1, 1}), random_tensor({1, 3, 1, 1}), random_tensor({1, 3, 1, 1})};
  const Operands flipped{in.q.view({70000, 1, 1, 1}), in.k.expand({70000, 3, 1, 1}), in.v.expand({70000, 3, 1, 1})};
  const Tensor expected = attend_by_formula(in.q, in.k, in.v, mask_kinds().front()).output;
  for (AttentionPath path : kPaths) {
    CHECK(max_difference(run(in, AttentionMask(), {.path = path}).output, expected) < 1e-13);
    CHECK(max_difference(run(flipped, AttentionMask(), {.path = path}).output.view({1, 70000, 1, 1}), expected) <
          1e-13);
  }
}

TEST_CASE("contract 3.28: shape errors name the argument, what was expected and what came",
          "[attention][contract][errors]") {
  struct Model : Module {
    ScaledDotProduct& core = child<ScaledDotProduct>("core");
  } model;
  const auto zeros = [](const Shape& shape) { return Variable(Tensor::zeros(shape)); };
  const auto q = zeros({2, 5, 2, 4}), k = zeros({2, 7, 2, 4});
  CHECK(error_text<ShapeError>([&] {
          model.core(zeros({2, 5, 4}), k, k);
        }) == "core: q is [2, 5, 4], expected [B, T, H, K]");
  CHECK(error_text<ShapeError>([&] { model.core(q, zeros({7}), k); }) == "core: k is [7], expected [B, S, H, K]");
  CHECK(error_text<ShapeError>([&] { model.core(q, k, zeros({7})); }) == "core: v is [7], expected [B, S, H, K]");
  CHECK(error_text<ShapeError>([&] {
          model.core(q, zeros({3, 7, 2, 4}), zeros({3, 7, 2, 4}));
        }) ==
        "core: q is [2, 5, 2, 4], k [3, 7, 2, 4], v [3, 7, 2, 4]; expected [B, T, H, K], [B, S, H, K], [B, S, H, K] "
        "with the same B and S");
  CHECK(error_text<ShapeError>([&] { model.core(q, k, zeros({2, 6, 2, 4})); }).starts_with("core: q is"));
  CHECK_THROWS_AS(model.core(q, zeros({2, 7, 2, 5}), k), ShapeError);
  CHECK_THROWS_AS(model.core(q, zeros({2, 7, 3, 4}), zeros({2, 7, 3, 4})), ShapeError);
  CHECK_THROWS_AS(model.core(q, k, zeros({2, 7, 1, 4})), ShapeError);
  CHECK(error_text<ShapeError>([&] {
          model.core.packed(zeros({2, 5, 2, 4}));
        }) == "core: qkv is [2, 5, 2, 4], expected [B, T, 3, H, K]");
  CHECK_THROWS_AS(model.core.packed(zeros({2, 5, 2, 2, 4})), ShapeError);
  CHECK(error_text<ShapeError>([&] {
          model.core.packed_kv(q, zeros({1, 7, 2, 2, 4}));
        }) == "core: q is [2, 5, 2, 4], kv [1, 7, 2, 2, 4]; expected [B, T, H, K] and [B, S, 2, H, K] with the same B");
  CHECK_THROWS_AS(model.core(q, Variable(Tensor::zeros({2, 7, 2, 4}, DType::kFloat64)), k), DTypeError);
  CHECK_THROWS_AS(ScaledDotProduct({.softcap = -1}), ValueError);
  CHECK_THROWS_AS(ScaledDotProduct({.dropout = 1}), ValueError);
}
