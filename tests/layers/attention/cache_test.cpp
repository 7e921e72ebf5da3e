#include "layers/attention/cache.h"

#include <catch2/catch_test_macros.hpp>

#include <set>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/attention/linear_attention.h"
#include "layers/attention/multi_head.h"
#include "layers/attention/performer.h"
#include "layers/attention/relative.h"
#include "tests/support/attention.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr int64_t kDim = 8;

struct Variant {
  const char* name;
  MultiHeadAttentionOptions options;
  std::unique_ptr<AttentionCore> (*core)();
};

std::unique_ptr<AttentionCore> none() { return nullptr; }

const Variant kVariants[] = {
    {"plain", {}, &none},
    {"grouped", {.key_heads = 2}, &none},
    {"multi-query", {.key_heads = 1}, &none},
    {"own projections", {.vdim = kDim}, &none},
    {"added keys", {.add_bias_kv = true, .add_zero_attn = true}, &none},
    {"rotary", {.positions = RotaryOptions{}}, &none},
    {"rotary halves, grouped", {.key_heads = 2, .positions = RotaryOptions{.layout = RotaryLayout::kHalves}}, &none},
    {"ALiBi", {.positions = AlibiOptions{}}, &none},
    {"buckets", {.positions = RelativeBucketsOptions{.buckets = 8, .max_distance = 4}}, &none},
    {"Shaw", {}, [] { return std::unique_ptr<AttentionCore>(new RelativeAttention(2, {.max_distance = 2})); }},
    {"linear", {}, [] { return std::unique_ptr<AttentionCore>(new LinearAttention()); }},
    {"Performer", {}, [] { return std::unique_ptr<AttentionCore>(new Performer(2)); }},
};

}  // namespace

TEST_CASE("a cache holds what was appended and grows by doubling", "[attention][cache]") {
  AttentionCache cache;
  CHECK(cache.length() == 0);
  CHECK(cache.batch() == 0);
  CHECK_FALSE(cache.keys().defined());
  const Tensor k = random_tensor({2, 300, 3, 4}, DType::kFloat32, 1);
  const Tensor v = random_tensor({2, 300, 3, 5}, DType::kFloat32, 2);
  std::set<const std::byte*> places;
  for (int64_t n = 0; n < 300; ++n) {
    cache.append(k.slice(1, n, n + 1), v.slice(1, n, n + 1));
    CHECK(cache.length() == n + 1);
    places.insert(cache.keys().raw());
  }
  CHECK(places.size() <= 10);  // capacities 1, 2, 4, ... 512
  CHECK(cache.batch() == 2);
  CHECK(same_values(cache.keys(), k));
  CHECK(same_values(cache.values(), v));

  AttentionCache roomy(300);
  roomy.append(k.slice(1, 0, 7), v.slice(1, 0, 7));
  const std::byte* place = roomy.keys().raw();
  roomy.append(k.slice(1, 7, 300), v.slice(1, 7, 300));
  CHECK(roomy.keys().raw() == place);
  CHECK(same_values(roomy.keys(), k));
}

TEST_CASE("a cache's samples can be chosen, repeated and left out", "[attention][cache]") {
  const Tensor k = random_tensor({3, 6, 2, 4}, DType::kFloat64, 1);
  const Tensor v = random_tensor({3, 6, 2, 4}, DType::kFloat64, 2);
  const auto check = [&](const std::vector<int64_t>& rows) {
    AttentionCache cache;
    cache.append(k.slice(1, 0, 5), v.slice(1, 0, 5));
    const auto n = static_cast<int64_t>(rows.size());
    const Tensor index = Tensor::from(rows, {n});
    cache.select(index);
    CHECK(cache.batch() == n);
    CHECK(cache.length() == 5);
    const Tensor all_k = index_select(Variable(k), 0, index).value();
    const Tensor all_v = index_select(Variable(v), 0, index).value();
    cache.append(all_k.slice(1, 5, 6), all_v.slice(1, 5, 6));
    CHECK(same_values(cache.keys(), all_k));
    CHECK(same_values(cache.values(), all_v));
  };
  check({2, 0, 1});
  check({1, 1, 0, 2, 2, 2});
  check({2});
  check({});
  check({0, 1, 2});
}

TEST_CASE("contract 3.18: step by step with a cache is the full causal pass", "[attention][cache][contract]") {
  const Tensor x = random_tensor({3, 7, kDim});
  for (const Variant& variant : kVariants) {
    INFO(variant.name);
    MultiHeadAttention attn(kDim, 4, variant.options, variant.core());
    randomise(attn);
    attn.to(DType::kFloat64);
    attn.eval();
    const Tensor lengths = Tensor::from<int64_t>({7, 5, 1}, {3});
    const AttentionResult full =
        attn(Variable(x), AttentionMask::causal() & AttentionMask::padding(lengths), Weights::kPerHead);
    Tape::current().clear();
    for (const std::vector<int64_t>& steps : {std::vector<int64_t>{1, 1, 1, 1, 1, 1, 1}, {3, 1, 2, 1}, {7}}) {
      AttentionCache cache;
      int64_t at = 0;
      for (int64_t n : steps) {
        const int64_t end = at + n;
        Tensor seen = lengths.clone();
        for (int64_t b = 0; b < 3; ++b) seen.data<int64_t>()[b] = std::min(seen.data<int64_t>()[b], end);
        const AttentionResult next =
            attn.step(Variable(x.slice(1, at, end)), cache, AttentionMask::padding(seen), Weights::kPerHead);
        CHECK(max_difference(next.output.value(), full.output.value().slice(1, at, end)) < 1e-12);
        const Tensor before = full.weights.value().slice(2, at, end).slice(3, 0, end);
        CHECK(max_difference(next.weights.value().slice(3, 0, end), before) < 1e-12);
        CHECK_FALSE(next.output.requires_grad());
        at = end;
      }
      CHECK(cache.length() == 7);
    }
    CHECK(Tape::current().size() == 0);
  }
}

TEST_CASE("a remembered memory gives the same as the memory", "[attention][cache]") {
  const Variable query(random_tensor({3, 4, kDim}, DType::kFloat64, 1));
  const Variable memory(random_tensor({3, 5, kDim}, DType::kFloat64, 2));
  const AttentionMask mask = AttentionMask::padding(Tensor::from<int64_t>({5, 2, 0}, {3}));
  for (const Variant& variant : kVariants) {
    INFO(variant.name);
    MultiHeadAttention attn(kDim, 4, variant.options, variant.core());
    randomise(attn);
    attn.to(DType::kFloat64);
    attn.eval();
    const NoGrad no_grad;
    const AttentionCache cache = attn.remember(memory);
    CHECK(cache.length() == 5);
    const Variable full = attn(query, memory, mask).output;
    CHECK(max_difference(attn.recall(query, cache, mask).output.value(), full.value()) < 1e-12);
  }
  MultiHeadAttention other(kDim, 4, {.kdim = 3, .vdim = 3});
  const Variable narrow(random_tensor({3, 5, 3}, DType::kFloat32));
  const Variable single(query.value().to(DType::kFloat32));
  const NoGrad no_grad;
  CHECK(max_difference(other.recall(single, other.remember(narrow)).output.value(),
                       other(single, narrow).output.value()) < 1e-6);
}

TEST_CASE("a cache's errors name both shapes", "[attention][cache][errors]") {
  CHECK_THROWS_AS(AttentionCache(-1), ValueError);
  AttentionCache cache;
  const auto zeros = [](const Shape& shape, DType dtype = DType::kFloat32) { return Tensor::zeros(shape, dtype); };
  CHECK(error_text<ShapeError>([&] {
          cache.append(zeros({2, 3, 4}), zeros({2, 3, 4}));
        }) == "AttentionCache: k is [2, 3, 4], expected [B, N, Hkv, K]");
  CHECK(error_text<ShapeError>([&] {
          cache.append(zeros({2, 3, 4, 5}), zeros({2, 2, 4, 5}));
        }) == "AttentionCache: k is [2, 3, 4, 5] and v [2, 2, 4, 5]; samples, positions and heads must be equal");
  cache.append(zeros({2, 3, 4, 5}), zeros({2, 3, 4, 6}));
  CHECK(error_text<ShapeError>([&] {
          cache.append(zeros({3, 1, 4, 5}), zeros({3, 1, 4, 6}));
        }) == "AttentionCache: k is [3, 1, 4, 5], expected [2, N, 4, 5] as is held");
  CHECK(error_text<DTypeError>([&] {
          cache.append(zeros({2, 1, 4, 5}, DType::kFloat64), zeros({2, 1, 4, 6}, DType::kFloat64));
        }) == "AttentionCache: k is float64, what is held float32; expected one dtype");
  CHECK(error_text<ValueError>([&] {
          cache.select(Tensor::from<int64_t>({0, 2}, {2}));
        }).starts_with("AttentionCache: "));
  CHECK_THROWS_AS(cache.select(zeros({2})), DTypeError);
  CHECK_THROWS_AS(cache.select(zeros({1, 2}, DType::kInt64)), ShapeError);
  CHECK(cache.length() == 3);
  MultiHeadAttention attn(20, 4);
  AttentionCache seen;
  attn.step(Variable(zeros({2, 3, 20})), seen);
  CHECK_THROWS_AS(attn.step(Variable(zeros({2, 1, 20})), seen, AttentionMask::keep(zeros({1, 3}, DType::kBool))),
                  ShapeError);
  CHECK(seen.length() == 3);
  CHECK(error_text<ShapeError>([&] {
          attn.recall(Variable(zeros({3, 1, 20})), cache);
        }) == "MultiHeadAttention: query is [3, 1, 20], the memory holds 2 samples; expected as many");
}
