// The contract of attention and the gradient check for every row of the table of variants.

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>
#include <string_view>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/attention/multi_head.h"
#include "layers/attention/recorder.h"
#include "tests/support/attention_variants.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;

namespace {

using Variant = AttentionVariant;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
const Extents kSmall{2, 2, 5, 7};

struct Operands {
  Tensor q, k, v, bias;
};

Operands operands(const Variant& variant, const Extents& e, DType dtype = DType::kFloat64, int64_t key_heads = 0) {
  if (key_heads == 0) key_heads = e.heads;
  return {random_tensor({e.batch, e.queries, e.heads, variant.query}, dtype, 1),
          random_tensor({e.batch, e.keys, key_heads, variant.key}, dtype, 2),
          random_tensor({e.batch, e.keys, key_heads, variant.value}, dtype, 3),
          random_tensor({e.batch, e.heads, e.queries, e.keys}, dtype, 5)};
}

std::unique_ptr<AttentionCore> made(const Variant& variant, int64_t heads, DType dtype = DType::kFloat64) {
  std::unique_ptr<AttentionCore> core = variant.make(heads);
  randomise(*core);
  core->to(dtype);
  return core;
}

/// Output, weights and the gradients of q, k, v, the bias and the parameters.
struct Run {
  Tensor output, weights, dq, dk, dv, dbias;
  std::vector<Tensor> parameters;

  std::vector<Tensor> all() const {
    std::vector<Tensor> out{output, dq, dk, dv, dbias};
    if (weights.defined()) out.push_back(weights);
    out.insert(out.end(), parameters.begin(), parameters.end());
    return out;
  }
};

using Attend = std::function<AttentionResult(AttentionCore&, const Variable& q, const Variable& k, const Variable& v,
                                             const AttentionMask& mask, bool want_weights)>;

AttentionResult at_once(AttentionCore& core, const Variable& q, const Variable& k, const Variable& v,
                        const AttentionMask& mask, bool want_weights) {
  return core(q, k, v, mask, want_weights);
}

Run run(AttentionCore& core, const Operands& in, const AttentionMask& mask, bool want_weights = true,
        const Attend& attend = at_once) {
  const Variable q(in.q, true), k(in.k, true), v(in.v, true), bias(in.bias, true);
  const AttentionResult result = attend(core, q, k, v, mask & AttentionMask::bias(bias), want_weights);
  Variable total = sum(result.output * Variable(random_tensor(result.output.shape(), in.q.dtype(), 9)));
  total.backward();
  const auto gradient = [](const Variable& x) { return x.grad().defined() ? x.grad() : Tensor::zeros_like(x.value()); };
  Run out{result.output.value(), {}, gradient(q), gradient(k), gradient(v), gradient(bias), {}};
  if (want_weights) out.weights = result.weights.value();
  for (const Variable& parameter : core.parameters()) out.parameters.push_back(gradient(parameter).clone());
  core.zero_grad();
  return out;
}

void check_same(const Run& a, const Run& b, double allowed) {
  const std::vector<Tensor> x = a.all(), y = b.all();
  REQUIRE(x.size() == y.size());
  for (size_t i = 0; i < x.size(); ++i) {
    INFO("result " << i);
    CHECK((allowed == 0 ? same_values(x[i], y[i]) : max_difference(x[i], y[i]) <= allowed));
  }
}

bool any_key(const MaskKind& kind, const Extents& e, int64_t b, int64_t h, int64_t t) {
  for (int64_t s = 0; s < e.keys; ++s) {
    if (kind.allows(e, b, h, t, s)) return true;
  }
  return false;
}

bool any_query(const MaskKind& kind, const Extents& e, int64_t b, int64_t h, int64_t s) {
  for (int64_t t = 0; t < e.queries; ++t) {
    if (kind.allows(e, b, h, t, s)) return true;
  }
  return false;
}

/// f(variant, mask kind) for all that make sense together.
template <class F>
void for_each_variant_and_mask(F&& f) {
  for (const Variant& variant : attention_variants()) {
    for (const MaskKind& kind : mask_kinds()) {
      if (!variant.applies(kind)) continue;
      INFO(variant.name << ", " << kind.name);
      f(variant, kind);
    }
  }
}

const MaskKind& kind_named(std::string_view name) {
  for (const MaskKind& kind : mask_kinds()) {
    if (kind.name == name) return kind;
  }
  FAIL("no mask kind " << name);
  return mask_kinds().front();
}

}  // namespace

TEST_CASE("every variant, contract 1.2, 1.3: what is masked is exactly 0, gradients too", "[attention][contract]") {
  for_each_variant_and_mask([](const Variant& variant, const MaskKind& kind) {
    for (DType dtype : {DType::kFloat32, DType::kFloat64}) {
      const Extents& e = kSmall;
      const auto core = made(variant, e.heads, dtype);
      const Run got = run(*core, operands(variant, e, dtype), kind.make(e, dtype));
      int wrong = 0;
      for (int64_t b = 0; b < e.batch; ++b) {
        for (int64_t h = 0; h < e.heads; ++h) {
          const auto row = [&](const Tensor& x, int64_t i) { return x.select(0, b).select(0, i).select(0, h); };
          const auto weight = [&](int64_t t) { return got.weights.select(0, b).select(0, h).select(0, t); };
          for (int64_t t = 0; t < e.queries; ++t) {
            for (int64_t s = 0; s < e.keys; ++s) {
              wrong += !kind.allows(e, b, h, t, s) && !all_zero(weight(t).slice(0, s, s + 1));
            }
            if (any_key(kind, e, b, h, t)) continue;
            wrong += !all_zero(row(got.output, t)) || !all_zero(row(got.dq, t)) || !all_zero(weight(t));
          }
          for (int64_t s = 0; s < e.keys; ++s) {
            if (any_query(kind, e, b, h, s)) continue;
            wrong += !all_zero(row(got.dk, s)) || !all_zero(row(got.dv, s));
          }
        }
      }
      CHECK(wrong == 0);
    }
  });
}

TEST_CASE("every variant, contract 1.3, 3.6: NaN and infinity in masked keys, values and scores change nothing",
          "[attention][contract]") {
  for_each_variant_and_mask([](const Variant& variant, const MaskKind& kind) {
    const Extents& e = kSmall;
    const auto core = made(variant, e.heads);
    const AttentionMask mask = kind.make(e, DType::kFloat64);
    const Operands clean = operands(variant, e);
    const Run expected = run(*core, clean, mask);
    for (double poison : {kNan, kInfinity}) {
      Operands dirty{clean.q, clean.k.clone(), clean.v.clone(), clean.bias.clone()};
      const Tensor masked = masked_positions(kind, e);
      poison_where(masked, poison, dirty.bias);
      poison_unused_keys(masked, poison, dirty.k);
      poison_unused_keys(masked, poison, dirty.v);
      INFO(poison);
      check_same(expected, run(*core, dirty, mask), 0);
    }
  });
}

TEST_CASE("every variant, contract 1.4, 3.2: asking for weights changes neither output nor gradient",
          "[attention][contract]") {
  for_each_variant_and_mask([](const Variant& variant, const MaskKind& kind) {
    const auto core = made(variant, kSmall.heads);
    const AttentionMask mask = kind.make(kSmall, DType::kFloat64);
    Run with = run(*core, operands(variant, kSmall), mask);
    with.weights = Tensor();
    check_same(with, run(*core, operands(variant, kSmall), mask, false), 1e-13);
  });
}

TEST_CASE("every variant, contract 1.7, 3.14: what weights sum to, and that times V they give the output",
          "[attention][contract]") {
  for_each_variant_and_mask([](const Variant& variant, const MaskKind& kind) {
    const NoGrad no_grad;
    const auto core = made(variant, kSmall.heads);
    const Operands in = operands(variant, kSmall);
    const AttentionResult result =
        (*core)(Variable(in.q), Variable(in.k), Variable(in.v), kind.make(kSmall, DType::kFloat64), true);
    for (double weight : values(result.weights.value())) CHECK(weight >= 0);
    for (double total : values(sum(result.weights, {3}).value())) {
      if (variant.sum == Variant::Sum::kOne) CHECK((total == 0 || std::abs(total - 1) < 1e-13));
      if (variant.sum == Variant::Sum::kAtMostOne) CHECK(total < 1 + 1e-13);
    }
    if (variant.output != Variant::Output::kWeightedValues) return;
    const Variable product = matmul(result.weights, permute(Variable(in.v), {0, 2, 1, 3}));
    CHECK(max_difference(permute(product, {0, 2, 1, 3}).value(), result.output.value()) < 1e-13);
  });
}

TEST_CASE("every variant: steps with a carried state give what all queries at once give", "[attention][contract]") {
  for_each_variant_and_mask([](const Variant& variant, const MaskKind& kind) {
    const auto core = made(variant, kSmall.heads);
    const AttentionMask mask = kind.make(kSmall, DType::kFloat64);
    const Operands in = operands(variant, kSmall);
    const Run whole = run(*core, in, mask);
    for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{1, 1, 1, 1, 1}, std::vector<int64_t>{2, 0, 3}}) {
      const auto stepwise = [&](AttentionCore& attention, const Variable& q, const Variable& k, const Variable& v,
                                const AttentionMask& all, bool want_weights) {
        const AttentionMemory memory = attention.prepare(k, v, all, q.dim(1));
        AttentionState state;
        std::vector<Variable> outputs, weights;
        for (int64_t length : lengths) {
          const int64_t begin = state.position;
          const AttentionResult part = attention.step(slice(q, 1, begin, begin + length), memory, state, want_weights);
          outputs.push_back(part.output);
          weights.push_back(part.weights);
        }
        CHECK(state.position == q.dim(1));
        return AttentionResult{concat(outputs, 1), want_weights ? concat(weights, 2) : Variable()};
      };
      check_same(whole, run(*core, in, mask, true, stepwise), 1e-12);
      check_same(run(*core, in, mask, false), run(*core, in, mask, false, stepwise), 1e-12);
    }
  });
}

TEST_CASE("every variant, contract 3.16, 3.17: a padded batch equals each sequence alone", "[attention][contract]") {
  const Extents e{3, 2, 4, 8};
  const std::vector<int64_t> lengths{8, 3, 5};
  for (const Variant& variant : attention_variants()) {
    INFO(variant.name);
    const auto core = made(variant, e.heads);
    const Operands in = operands(variant, e);
    const Run batch = run(*core, in, AttentionMask::padding(Tensor::from(lengths, {3})));
    for (int64_t b = 0; b < 3; ++b) {
      const int64_t n = lengths[static_cast<size_t>(b)];
      const auto sample = [b](const Tensor& x) { return x.slice(0, b, b + 1); };
      const auto keys = [&](const Tensor& x) { return sample(x).slice(1, 0, n); };
      const NoGrad no_grad;
      const AttentionResult alone = (*core)(Variable(sample(in.q)), Variable(keys(in.k)), Variable(keys(in.v)),
                                            AttentionMask::bias(Variable(sample(in.bias).slice(3, 0, n))), true);
      CHECK(max_difference(sample(batch.output), alone.output.value()) < 1e-13);
      CHECK(max_difference(sample(batch.weights).slice(3, 0, n), alone.weights.value()) < 1e-13);
    }
  }
}

TEST_CASE("every variant, contract 3.13: grouped key heads equal repeated ones; dK and dV sum over the group",
          "[attention][contract]") {
  const Extents e{2, 4, 5, 7};
  for (const Variant& variant : attention_variants()) {
    for (const int64_t key_heads : {1, 2}) {
      INFO(variant.name << ", " << key_heads);
      const int64_t group = e.heads / key_heads;
      const Operands in = operands(variant, e, DType::kFloat64, key_heads);
      const auto repeated = [&](const Tensor& x) {
        Tensor out = Tensor::empty({e.batch, e.keys, e.heads, x.dim(3)}, x.dtype());
        for (int64_t h = 0; h < e.heads; ++h) out.select(2, h).copy_(x.select(2, h / group));
        return out;
      };
      const auto summed = [&](const Tensor& x) {
        return sum(reshape(Variable(x), {e.batch, e.keys, key_heads, group, x.dim(3)}), {3}).value();
      };
      const auto core = made(variant, e.heads);
      const AttentionMask mask = kind_named("all of them").make(e, DType::kFloat64);
      const Run grouped = run(*core, in, mask);
      Run full = run(*core, {in.q, repeated(in.k), repeated(in.v), in.bias}, mask);
      full.dk = summed(full.dk);
      full.dv = summed(full.dv);
      check_same(grouped, full, 1e-12);
    }
  }
}

TEST_CASE("every variant, contract 3.20, 3.25: empty, single and strided operands", "[attention][contract]") {
  for (const Variant& variant : attention_variants()) {
    INFO(variant.name);
    for (const Extents& e : {Extents{2, 2, 1, 5}, Extents{2, 2, 3, 1}, Extents{2, 2, 0, 4}, Extents{2, 2, 3, 0},
                             Extents{2, 2, 0, 0}, Extents{0, 2, 3, 4}, Extents{2, 1, 3, 4}}) {
      INFO("B " << e.batch << ", H " << e.heads << ", T " << e.queries << ", S " << e.keys);
      const auto core = made(variant, e.heads);
      const Run got = run(*core, operands(variant, e), AttentionMask());
      CHECK(got.output.shape() == Shape{e.batch, e.queries, e.heads, variant.value});
      CHECK(got.weights.shape() == Shape{e.batch, e.heads, e.queries, e.keys});
      if (e.keys == 0) CHECK(all_zero(got.output));
    }
    const auto by_columns = [](const Tensor& x) { return x.permute({3, 2, 1, 0}).contiguous().permute({3, 2, 1, 0}); };
    const auto core = made(variant, kSmall.heads);
    const Operands in = operands(variant, kSmall);
    const AttentionMask mask = kind_named("all of them").make(kSmall, DType::kFloat64);
    check_same(run(*core, in, mask),
               run(*core, {by_columns(in.q), by_columns(in.k), by_columns(in.v), by_columns(in.bias)}, mask), 1e-12);
  }
}

TEST_CASE(
    "every variant, contract 3.3: with a causal mask, a changed token leaves earlier outputs bitwise as they were",
    "[attention][contract]") {
  const Extents e{2, 2, 6, 6};
  for (const Variant& variant : attention_variants()) {
    INFO(variant.name);
    const auto core = made(variant, e.heads);
    const Operands in = operands(variant, e);
    const auto output = [&](const Operands& x) {
      const NoGrad no_grad;
      return (*core)(Variable(x.q), Variable(x.k), Variable(x.v), AttentionMask::causal()).output.value();
    };
    const Tensor before = output(in);
    for (int64_t t = 0; t + 1 < e.queries; ++t) {
      Operands changed{in.q.clone(), in.k.clone(), in.v.clone(), in.bias};
      for (Tensor* x : {&changed.q, &changed.k, &changed.v}) x->select(1, t + 1).fill_(5);
      CHECK(same_values(before.slice(1, 0, t + 1), output(changed).slice(1, 0, t + 1)));
    }
  }
}

TEST_CASE("every variant, contract 3.9: scores of +-1e4 do not overflow", "[attention][contract]") {
  for (const Variant& variant : attention_variants()) {
    for (DType dtype : {DType::kFloat32, DType::kFloat64}) {
      INFO(variant.name << ", " << dtype_name(dtype));
      const auto core = made(variant, kSmall.heads, dtype);
      Operands in = operands(variant, kSmall, dtype);
      in.bias = affine(Variable(in.bias), 1e4, 0).value();
      for (const Tensor& x : run(*core, in, AttentionMask()).all()) {
        for (double value : values(x)) CHECK(std::isfinite(value));
      }
    }
  }
}

TEST_CASE("every variant, contract 3.17, 3.26: one sample of more than 65,535 is what it is alone",
          "[attention][contract]") {
  const Extents e{70000, 1, 1, 3};
  for (const Variant& variant : attention_variants()) {
    INFO(variant.name);
    const NoGrad no_grad;
    const auto core = made(variant, e.heads);
    const Operands few = operands(variant, {e.batch / 70, e.heads, e.queries, e.keys});
    const auto often = [&](const Tensor& x) {
      return x.unsqueeze(0)
          .expand({70, x.dim(0), x.dim(1), x.dim(2), x.dim(3)})
          .reshape({e.batch, x.dim(1), x.dim(2), x.dim(3)});
    };
    const Operands in{often(few.q), often(few.k), often(few.v), {}};
    const auto output = [&](int64_t begin, int64_t end) {
      const auto part = [&](const Tensor& x) { return Variable(x.slice(0, begin, end)); };
      return (*core)(part(in.q), part(in.k), part(in.v)).output.value();
    };
    const Tensor all = output(0, e.batch);
    for (int64_t b : {int64_t{0}, e.batch - 1}) CHECK(max_difference(all.slice(0, b, b + 1), output(b, b + 1)) < 1e-13);
  }
}

TEST_CASE("every variant, contract 3.22: two runs give bitwise the same gradients; float32 agrees with float64",
          "[attention][contract]") {
  const Extents e{3, 4, 20, 50};
  for (const Variant& variant : attention_variants()) {
    INFO(variant.name);
    const auto core = made(variant, e.heads);
    const AttentionMask mask = kind_named("causal & padding").make(e, DType::kFloat64);
    const Run wide = run(*core, operands(variant, e), mask);
    check_same(wide, run(*core, operands(variant, e), mask), 0);
    core->to(DType::kFloat32);
    if (variant.weights == Variant::Weights::kSmooth)
      check_same(wide, run(*core, operands(variant, e, DType::kFloat32), mask), 2e-4);
  }
}

TEST_CASE("every variant has right gradients under every mask", "[attention][contract][gradcheck]") {
  for_each_variant_and_mask([](const Variant& variant, const MaskKind& kind) {
    const Extents e{2, 2, 2, 3};
    const auto core = made(variant, e.heads);
    const AttentionMask mask = kind.make(e, DType::kFloat64);
    const Operands in = operands(variant, e);
    const auto call = [&](const Variable& q, const Variable& k, const Variable& v, const Variable& bias) {
      const AttentionResult result = (*core)(q, k, v, mask & AttentionMask::bias(bias), true);
      std::vector<Variable> outputs{result.output};
      if (variant.weights == Variant::Weights::kSmooth) outputs.push_back(result.weights);
      return outputs;
    };
    const GradcheckOptions options{.max_elements = 5};
    const GradcheckReport inputs = gradcheck([&](std::span<const Variable> x) { return call(x[0], x[1], x[2], x[3]); },
                                             {in.q, in.k, in.v, in.bias}, options);
    INFO(inputs.to_string());
    CHECK(inputs.ok);
    if (core->parameters().empty()) return;
    const GradcheckReport parameters =
        gradcheck([&] { return call(Variable(in.q), Variable(in.k), Variable(in.v), Variable(in.bias)); },
                  core->named_parameters(), options);
    INFO(parameters.to_string());
    CHECK(parameters.ok);
  });
}

TEST_CASE("every variant: a recorder changes nothing and hands out the weights, in steps too", "[attention]") {
  for (const Variant& variant : attention_variants()) {
    INFO(variant.name);
    const auto core = made(variant, kSmall.heads);
    const Operands in = operands(variant, kSmall);
    const AttentionMask mask = kind_named("causal & padding").make(kSmall, DType::kFloat64);
    const auto in_two = [](AttentionCore& attention, const Variable& q, const Variable& k, const Variable& v,
                           const AttentionMask& all, bool want_weights) {
      const AttentionMemory memory = attention.prepare(k, v, all, q.dim(1));
      AttentionState state;
      const Variable first = attention.step(slice(q, 1, 0, 2), memory, state, want_weights).output;
      return AttentionResult{concat({first, attention.step(slice(q, 1, 2, 5), memory, state, want_weights).output}, 1),
                             {}};
    };
    const Tensor weights = run(*core, in, mask).weights;
    const Run whole = run(*core, in, mask, false);
    const Run parts = run(*core, in, mask, false, in_two);
    AttentionRecorder recorder(*core);
    check_same(whole, run(*core, in, mask, false), 0);
    check_same(parts, run(*core, in, mask, false, in_two), 0);
    REQUIRE(recorder.records().size() == 3);
    CHECK(max_difference(recorder.records()[0].weights, weights) < 1e-13);
    CHECK(max_difference(recorder.records()[1].weights, weights.slice(2, 0, 2)) < 1e-13);
    CHECK(max_difference(recorder.records()[2].weights, weights.slice(2, 2, 5)) < 1e-13);
  }
}

TEST_CASE("every variant with equal widths stands in for the product in multi-head attention", "[attention]") {
  for (const Variant& variant : attention_variants()) {
    if (variant.query != variant.key) continue;
    INFO(variant.name);
    MultiHeadAttention attn(2 * variant.query, 2, {}, variant.make(2));
    const Variable x(random_tensor({2, 5, 2 * variant.query}, DType::kFloat32), true);
    const AttentionResult result = attn(x, AttentionMask::causal(), Weights::kPerHead);
    CHECK(result.output.shape() == x.shape());
    sum(square(result.output)).backward();
    CHECK_FALSE(all_zero(x.grad()));
  }
}

TEST_CASE("steps: what does not fit is refused by name", "[attention][errors]") {
  struct Model : Module {
    AttentionCore& attn = own("attn", attention_variants().front().make(2));
  } model;
  const auto zeros = [](const Shape& shape) { return Variable(Tensor::zeros(shape)); };
  const Variable k = zeros({2, 7, 2, 4});
  CHECK(error_text<ShapeError>([&] {
          model.attn.prepare(k, zeros({2, 6, 2, 4}), {}, 3);
        }) == "attn: k is [2, 7, 2, 4], v [2, 6, 2, 4]; expected [B, S, H, K] each with the same B, S and H");
  const AttentionMemory memory = model.attn.prepare(k, k, {}, 3);
  AttentionState state;
  model.attn.step(zeros({2, 2, 2, 4}), memory, state);
  CHECK(error_text<ValueError>([&] {
          model.attn.step(zeros({2, 2, 2, 4}), memory, state);
        }) == "attn: the memory was prepared for 3 queries, after 2 come 2 more");
  CHECK(state.position == 2);
  CHECK(error_text<ShapeError>([&] {
          model.attn.step(zeros({3, 1, 2, 4}), memory, state);
        }) ==
        "attn: q is [3, 1, 2, 4], the memory's keys [2, 7, 2, 4]; expected [B, T, H, K], [B, S, H, K] with the "
        "same B");
}

TEST_CASE("a state of samples goes on as theirs would", "[attention]") {
  const NoGrad no_grad;
  const Tensor order = Tensor::from<int64_t>({1, 1, 0}, {3});
  for (const Variant& variant : attention_variants()) {
    INFO(variant.name);
    const auto core = made(variant, kSmall.heads);
    const Operands in = operands(variant, kSmall);
    const auto pick = [&](const Tensor& x) { return index_select(Variable(x), 0, order); };
    const AttentionMemory memory = core->prepare(Variable(in.k), Variable(in.v), {}, 5);
    const AttentionMemory picked = core->prepare(pick(in.k), pick(in.v), {}, 5);
    AttentionState state;
    core->step(Variable(in.q.slice(1, 0, 3)), memory, state);
    AttentionState chosen = state.of_samples(order);
    const Variable expected = core->step(Variable(in.q.slice(1, 3, 5)), memory, state).output;
    CHECK(max_difference(core->step(pick(in.q.slice(1, 3, 5)), picked, chosen).output.value(),
                         pick(expected.value()).value()) < 1e-13);
  }
}
