#include "layers/attention/mask.h"

#include <catch2/catch_test_macros.hpp>

#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "framework/error.h"
#include "layers/attention/multi_head.h"
#include "layers/attention/scaled_dot_product.h"
#include "layers/pooling.h"
#include "layers/transformer/encoder.h"
#include "tests/support/attention.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace attune;
using namespace attune::testing;

// 3.7 The wrong sense of a mask does not compile: a tensor is no mask, and nothing that takes a mask takes a tensor.
template <class T>
constexpr bool kIsNoMask = !std::is_convertible_v<T, AttentionMask> && !std::is_constructible_v<AttentionMask, T>;
static_assert(kIsNoMask<Tensor> && kIsNoMask<Variable> && kIsNoMask<std::vector<bool>> && kIsNoMask<bool>);
static_assert(!std::is_invocable_v<MultiHeadAttention&, Variable, Tensor>);
static_assert(!std::is_invocable_v<MultiHeadAttention&, Variable, Variable, Tensor>);
static_assert(!std::is_invocable_v<MultiHeadAttention&, Variable, Variable, Variable, Tensor>);
static_assert(!std::is_invocable_v<MultiHeadAttention&, Variable, Variable, Variable, Variable>);
static_assert(!std::is_invocable_v<ScaledDotProduct&, Variable, Variable, Variable, Tensor>);
static_assert(!std::is_invocable_v<TransformerEncoder&, Variable, Tensor>);
static_assert(!std::is_invocable_v<TransformerEncoderLayer&, Variable, Tensor>);
static_assert(!std::is_invocable_v<AttentionPooling&, Variable, Tensor>);
static_assert(std::is_invocable_v<MultiHeadAttention&, Variable, AttentionMask>);

namespace {

const Extents kExtents[] = {{2, 2, 5, 7}, {2, 3, 7, 5}, {3, 1, 4, 4}, {1, 2, 1, 9}, {2, 1, 6, 1}};

/// Where `lowered` differs from what the kind says; empty when nowhere.
std::string difference(const MaskKind& kind, const Extents& e, const LoweredMask& lowered) {
  const Tensor allowed = allowed_keys(lowered.spec, e.batch, e.heads, e.queries, e.keys);
  Tensor bias;
  if (lowered.bias.defined()) bias = lowered.bias.value().expand(allowed.shape()).to(DType::kFloat64).contiguous();
  int64_t i = 0;
  for (int64_t b = 0; b < e.batch; ++b) {
    for (int64_t h = 0; h < e.heads; ++h) {
      for (int64_t t = 0; t < e.queries; ++t) {
        for (int64_t s = 0; s < e.keys; ++s, ++i) {
          const double added = bias.defined() ? bias.data<double>()[i] : 0;
          const bool forbids = added == -std::numeric_limits<double>::infinity();
          if ((allowed.data<bool>()[i] && !forbids) != kind.allows(e, b, h, t, s) ||
              (!forbids && added != kind.adds(e, b, h, t, s))) {
            return Shape{b, h, t, s}.to_string();
          }
        }
      }
    }
  }
  return "";
}

}  // namespace

TEST_CASE("contract 1.1, 1.5, 3.4, 3.5: every mask lowers to what it says, for all kinds and compositions",
          "[attention]") {
  for (const Extents& e : kExtents) {
    for (const MaskKind& kind : mask_kinds()) {
      INFO(kind.name << ", T " << e.queries << ", S " << e.keys);
      CHECK(difference(kind, e, kind.make(e, DType::kFloat64).lower(e.batch, e.heads, e.queries, e.keys)) == "");
    }
  }
}

TEST_CASE("composition is symmetric and has the empty mask as its neutral element", "[attention]") {
  const Extents e{2, 2, 5, 7};
  for (const MaskKind& a : mask_kinds()) {
    for (const MaskKind& b : mask_kinds()) {
      INFO(a.name << " & " << b.name);
      const MaskKind both{"", nullptr,
                          [&](const Extents& x, int64_t i, int64_t h, int64_t t, int64_t s) {
                            return a.allows(x, i, h, t, s) && b.allows(x, i, h, t, s);
                          },
                          [&](const Extents& x, int64_t i, int64_t h, int64_t t, int64_t s) {
                            return a.adds(x, i, h, t, s) + b.adds(x, i, h, t, s);
                          }};
      const AttentionMask ab = a.make(e, DType::kFloat64) & b.make(e, DType::kFloat64);
      CHECK(difference(both, e, ab.lower(e.batch, e.heads, e.queries, e.keys)) == "");
    }
  }
}

TEST_CASE("masks compose whatever their strides", "[attention]") {
  const Extents e{1, 1, 3, 4};
  const Tensor per_query = Tensor::empty({3, 1}, DType::kBool);  // no step along the keys
  const Tensor by_columns = Tensor::empty({4, 3}, DType::kBool).transpose(0, 1);
  Tensor(per_query).fill_(1);
  per_query.select(0, 1).fill_(0);
  Tensor(by_columns).fill_(1);
  by_columns.select(0, 2).select(0, 1).fill_(0);
  const MaskKind expected{
      "", nullptr, [](const Extents&, int64_t, int64_t, int64_t t, int64_t s) { return t != 1 && !(t == 2 && s == 1); },
      [](const Extents&, int64_t, int64_t, int64_t, int64_t) { return 0.0; }};
  const auto check = [&](const Tensor& a, const Tensor& b) {
    CHECK(difference(expected, e, (AttentionMask::keep(a) & AttentionMask::keep(b)).lower(1, 1, 3, 4)) == "");
  };
  check(per_query, by_columns);
  check(by_columns, per_query);
}

TEST_CASE("keys added behind the others are always allowed", "[attention]") {
  const int64_t count = 2;
  for (const Extents& e : kExtents) {
    const Extents wider{e.batch, e.heads, e.queries, e.keys + count};
    for (const MaskKind& kind : mask_kinds()) {
      INFO(kind.name << ", T " << e.queries << ", S " << e.keys);
      const MaskKind expected{"", nullptr,
                              [&](const Extents&, int64_t b, int64_t h, int64_t t, int64_t s) {
                                return s >= e.keys || kind.allows(e, b, h, t, s);
                              },
                              [&](const Extents&, int64_t b, int64_t h, int64_t t, int64_t s) {
                                return s >= e.keys ? 0 : kind.adds(e, b, h, t, s);
                              }};
      const AttentionMask mask =
          kind.make(e, DType::kFloat64).with_extra_keys(count, e.batch, e.heads, e.queries, e.keys);
      CHECK(difference(expected, wider, mask.lower(e.batch, e.heads, e.queries, wider.keys)) == "");
    }
  }
}

TEST_CASE("bounds that exclude nothing cost nothing", "[attention]") {
  const MaskSpec last = AttentionMask::causal(Align::kLast).lower(2, 2, 1, 9).spec;
  CHECK_FALSE(last.causal);
  CHECK(last.window_left == -1);
  const MaskSpec wide = AttentionMask::window(100, 100).lower(2, 2, 5, 9).spec;
  CHECK_FALSE(wide.causal);
  CHECK(wide.window_left == -1);
  CHECK_FALSE(wide.keep.defined());
}

TEST_CASE("windows and offsets as large as int64 do not overflow", "[attention]") {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const MaskKind& all = mask_kinds().front();
  const Extents e{1, 1, 3, 4};
  for (const AttentionMask& mask : {AttentionMask::causal(kMost), AttentionMask::window(kMost, kMost, int64_t{0}),
                                    AttentionMask::window(kMost, kMost, -5), AttentionMask::window(1, -1, -kMost)}) {
    const std::string where = difference(all, e, mask.lower(1, 1, 3, 4));
    CHECK(where == "");
  }
  CHECK(AttentionMask::causal(-kMost).lower(1, 1, 3, 4).spec.causal);
}

TEST_CASE("a mask of blocks tells a kernel which blocks it may skip", "[attention]") {
  Tensor layout = Tensor::full({2, 3}, 1, DType::kBool);
  for (int64_t i : {1, 3, 5}) layout.data<bool>()[i] = false;
  const MaskSpec spec = (AttentionMask::blocks(layout, 3) & AttentionMask::window(4, -1)).lower(2, 2, 5, 7).spec;
  CHECK(spec.block_size == 3);
  REQUIRE(spec.blocks.shape() == Shape{2, 2, 2, 3});
  const Tensor allowed = allowed_keys(spec, 2, 2, 5, 7);
  const auto at = [](const Tensor& x, int64_t b, int64_t h, int64_t t, int64_t s) {
    return x.select(0, b).select(0, h).select(0, t).select(0, s).item() != 0;
  };
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t t = 0; t < 5; ++t) {
        for (int64_t s = 0; s < 7; ++s) {
          CHECK(at(allowed, b, h, t, s) == (at(spec.blocks, b, h, t / 3, s / 3) && s >= t - 4));
        }
      }
    }
  }
}

TEST_CASE("contract 3.27: a length outside 0 ... S is an error that names the sample", "[attention][errors]") {
  struct Model : Module {
    MultiHeadAttention& attn = child<MultiHeadAttention>("attn", 4, 2);
  } model;
  const Variable x(Tensor::zeros({3, 5, 4}));
  const auto with = [&](std::vector<int64_t> lengths) {
    return error_text<ValueError>(
        [&] { model.attn(x, AttentionMask::padding(Tensor::from(lengths, {static_cast<int64_t>(lengths.size())}))); });
  };
  CHECK(with({5, 6, 1}) ==
        "attn.core: AttentionMask::padding gives sample 1 the length 6, expected 0 ... 5 (S, the number of keys)");
  CHECK(with({5, 5, -1}).find("sample 2 the length -1") != std::string::npos);
  CHECK(error_text<ShapeError>([&] { model.attn(x, AttentionMask::padding(Tensor::zeros({2}, DType::kInt64))); }) ==
        "attn.core: AttentionMask::padding has 2 lengths, expected one per sample, 3");
}

TEST_CASE("contract 3.28: mask errors name the argument, what was expected and what came", "[attention][errors]") {
  using M = AttentionMask;
  const Tensor floats = Tensor::zeros({2, 2});
  CHECK(error_text<DTypeError>([&] { M::keep(floats); }) ==
        "AttentionMask::keep: expected bool, got float32; scores to be added are AttentionMask::bias");
  CHECK(error_text<DTypeError>([&] { M::drop(floats); }).find("AttentionMask::drop: expected bool") == 0);
  CHECK(error_text<DTypeError>([&] {
          M::bias(Variable(Tensor::zeros({2, 2}, DType::kBool)));
        }).find("AttentionMask::bias: expected a floating dtype, got bool") == 0);
  CHECK(error_text<DTypeError>([&] { M::padding(Tensor::zeros({2})); }) ==
        "AttentionMask::padding: expected lengths of int64, got float32");
  CHECK(error_text<ShapeError>([&] {
          M::padding(Tensor::zeros({2, 2}, DType::kInt64));
        }).find("shape [2, 2] given, expected lengths [B]") != std::string::npos);
  CHECK(error_text<ShapeError>([&] {
          M::keep(Tensor::zeros({2, 3, 4}, DType::kBool));
        }).find("AttentionMask::keep: shape [2, 3, 4] given, expected [T, S] or [B, H, T, S]") == 0);
  CHECK(error_text<DTypeError>([&] { M::blocks(floats, 2); }) ==
        "AttentionMask::blocks: expected a layout of bool, got float32");
  CHECK(error_text<ShapeError>([&] {
          M::blocks(Tensor::zeros({2, 3, 4}, DType::kBool), 2);
        }).find("AttentionMask::blocks: layout [2, 3, 4] given") == 0);
  CHECK_THROWS_AS(M::blocks(Tensor::zeros({2, 2}, DType::kBool), 0), ValueError);
  CHECK(error_text<ShapeError>([&] {
          M::blocks(Tensor::zeros({3, 3}, DType::kBool), 3).lower(2, 2, 5, 7);
        }) ==
        "AttentionMask: AttentionMask::blocks has the layout [3, 3], expected 2 x 3 blocks of 3 for T = 5, S = 7");
  CHECK(error_text<ShapeError>([&] {
          M::blocks(Tensor::zeros({3, 1, 2, 3}, DType::kBool), 3).lower(2, 2, 5, 7);
        }).find("AttentionMask::blocks has shape [3, 1, 2, 3]") != std::string::npos);
  CHECK(error_text<ValueError>([&] { M::window(-2, 0); }).find("-2 keys to the left") != std::string::npos);
  CHECK(error_text<ShapeError>([&] {
          M::keep(Tensor::zeros({4, 6}, DType::kBool)).lower(2, 2, 5, 7);
        }) ==
        "AttentionMask: AttentionMask::keep (or drop) has shape [4, 6], expected one that broadcasts to "
        "[B, H, T, S] = [2, 2, 5, 7]");
  CHECK(error_text<ShapeError>([&] {
          M::bias(Variable(Tensor::zeros({3, 1, 5, 7}))).lower(2, 2, 5, 7);
        }).find("AttentionMask::bias has shape [3, 1, 5, 7]") != std::string::npos);
  CHECK_THROWS_AS(M::keep(Tensor::zeros({4, 6}, DType::kBool)) & M::keep(Tensor::zeros({5, 6}, DType::kBool)),
                  ShapeError);
  CHECK_THROWS_AS(M::padding(Tensor::zeros({4}, DType::kInt64)) & M::padding(Tensor::zeros({5}, DType::kInt64)),
                  ShapeError);
}
