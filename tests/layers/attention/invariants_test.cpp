// The contract of attention by the numbers of its rules: what must not change, extents, strides and errors.

#include <cmath>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "tests/layers/attention/contract.h"
#include "tests/support/errors.h"

using namespace attune;
using namespace attune::testing;

TEST_CASE("contract 3.3: with causal and dropout, a changed token leaves earlier outputs bitwise as they were",
          "[attention][contract]") {
  const Extents e{2, 2, 9, 9};
  for (DType dtype : kFloatDTypes) {
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
  for (DType dtype : kFloatDTypes) {
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
  // A large one too, and a float32 score keeps what it can of the small differences: these it keeps whole.
  for (const double large : {1e4, -1e4, 1e6}) {
    for (const AttentionPath path : kPaths) {
      for (const int64_t keys : {7, 300}) {
        const Tensor q = Tensor::zeros({1, 140, 1, 4});
        const Tensor v = random_tensor({1, keys, 1, 3}, DType::kFloat32, 3);
        std::vector<float> scores(static_cast<size_t>(140 * keys));
        for (size_t i = 0; i < scores.size(); ++i) scores[i] = static_cast<float>(i * 37 % 64) / 16;
        const auto run_with = [&](double constant) {
          const Variable plain(Tensor::from(scores, {1, 1, 140, keys}));
          const Variable bias(affine(plain, 1, constant).value(), true);
          const Tensor k = random_tensor({1, keys, 1, 4}, DType::kFloat32);
          return run({q, k, v}, AttentionMask::causal(), {.path = path}, bias);
        };
        const Run plain = run_with(0), shifted = run_with(large);
        CHECK(max_difference(plain.output, shifted.output) < 1e-6);
        CHECK(max_difference(plain.dq, shifted.dq) < 1e-6);
        CHECK(max_difference(plain.dv, shifted.dv) < 1e-6);
        CHECK(max_difference(plain.dbias, shifted.dbias) < 1e-6);
      }
    }
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
  for (DType dtype : kFloatDTypes) {
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
