#include "layers/attention/positions.h"

#include <cmath>

#include "autograd/ops/ops.h"
#include "framework/error.h"
#include "layers/attention/multi_head.h"
#include "tests/layers/attention/similarity.h"
#include "tests/support/errors.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr RotaryLayout kLayouts[] = {RotaryLayout::kInterleaved, RotaryLayout::kHalves};

/// All scores q k of [B, T, H, K] and [B, S, H, K].
Tensor scores(const Variable& q, const Variable& k) {
  return matmul(permute(q, {0, 2, 1, 3}), permute(k, {0, 2, 1, 3}), false, true).value();
}

}  // namespace

TEST_CASE("rotary positions turn pairs by the position times the pair's frequency", "[attention][positions]") {
  const Tensor x = random_tensor({2, 3, 2, 8});
  for (RotaryLayout layout : kLayouts) {
    for (int64_t size : {8, 4}) {
      RotaryPositions rotary(8, {.layout = layout, .size = size == 8 ? 0 : size, .base = 100});
      const Tensor y = rotary.turn(Variable(x), 5).value();
      for (int64_t b = 0; b < 2; ++b) {
        for (int64_t n = 0; n < 3; ++n) {
          for (int64_t h = 0; h < 2; ++h) {
            const double* in = head_row(x, b, n, h);
            const double* out = head_row(y, b, n, h);
            for (int64_t i = 0; i < size / 2; ++i) {
              const bool halves = layout == RotaryLayout::kHalves;
              const int64_t first = halves ? i : 2 * i;
              const int64_t second = halves ? i + size / 2 : 2 * i + 1;
              const double angle =
                  static_cast<double>(5 + n) * std::pow(100, -2 * static_cast<double>(i) / static_cast<double>(size));
              CHECK(std::abs(out[first] - (in[first] * std::cos(angle) - in[second] * std::sin(angle))) < 1e-14);
              CHECK(std::abs(out[second] - (in[first] * std::sin(angle) + in[second] * std::cos(angle))) < 1e-14);
            }
            for (int64_t i = size; i < 8; ++i) CHECK(out[i] == in[i]);
          }
        }
      }
    }
  }
}

TEST_CASE("rotary positions: shifting queries and keys together changes no score", "[attention][positions]") {
  const Variable q(random_tensor({2, 5, 2, 6}, DType::kFloat64, 1)), k(random_tensor({2, 5, 2, 6}, DType::kFloat64, 2));
  for (RotaryLayout layout : kLayouts) {
    RotaryPositions rotary(6, {.layout = layout});
    const Tensor before = scores(rotary.turn(q), rotary.turn(k));
    CHECK(max_difference(before, scores(rotary.turn(q, 1000), rotary.turn(k, 1000))) < 1e-11);
    CHECK(max_difference(before, scores(rotary.turn(q, 1), rotary.turn(k, 0))) > 1e-2);
    CHECK(max_difference(before, scores(q, k)) > 1e-2);
    // In float32 far positions keep their direction.
    const auto single = [&](const Variable& x, int64_t offset) {
      return rotary.turn(Variable(x.value().to(DType::kFloat32)), offset);
    };
    CHECK(max_difference(before, scores(single(q, 100000), single(k, 100000)).to(DType::kFloat64)) < 1e-5);
  }
}

TEST_CASE("rotary layouts differ by the order of elements alone", "[attention][positions]") {
  const Variable x(random_tensor({1, 4, 2, 6}));
  const Tensor order = Tensor::from<int64_t>({0, 2, 4, 1, 3, 5}, {6});  // pairs side by side -> halves
  const Tensor halves = RotaryPositions(6, {.layout = RotaryLayout::kHalves}).turn(index_select(x, 3, order)).value();
  const Variable pairs = RotaryPositions(6).turn(x);
  CHECK(max_difference(index_select(pairs, 3, order).value(), halves) < 1e-14);
}

TEST_CASE("ALiBi's slopes are the paper's, for 12 heads, too", "[attention][positions]") {
  const std::vector<double> eight = alibi_slopes(8);
  for (size_t i = 0; i < 8; ++i) CHECK(eight[i] == std::pow(2, -static_cast<double>(i + 1)));
  CHECK(alibi_slopes(1) == std::vector<double>{1.0 / 256});
  CHECK(alibi_slopes(2) == std::vector<double>{1.0 / 16, 1.0 / 256});
  const std::vector<double> twelve = alibi_slopes(12);
  REQUIRE(twelve.size() == 12);
  for (size_t i = 0; i < 8; ++i) CHECK(twelve[i] == eight[i]);
  for (size_t i = 0; i < 4; ++i) CHECK(std::abs(twelve[8 + i] - std::pow(2, -0.5 - static_cast<double>(i))) < 1e-15);
  const std::vector<double> three = alibi_slopes(3);
  CHECK(three[2] == 0.25);  // the first of every other slope of 4 heads: 1/4, 1/16, 1/64, 1/256
  CHECK_THROWS_AS(alibi_slopes(0), ValueError);
}

TEST_CASE("ALiBi adds slope times distance", "[attention][positions]") {
  AlibiPositions alibi(3);
  alibi.to(DType::kFloat64);
  const Tensor table = alibi.scores(2, 5, 3).value();
  REQUIRE(table.shape() == Shape{1, 3, 2, 5});
  const std::vector<double> slopes = alibi_slopes(3);
  for (int64_t h = 0; h < 3; ++h) {
    for (int64_t t = 0; t < 2; ++t) {
      for (int64_t s = 0; s < 5; ++s) {
        CHECK(table.data<double>()[(h * 2 + t) * 5 + s] ==
              -slopes[static_cast<size_t>(h)] * static_cast<double>(std::abs(t + 3 - s)));
      }
    }
  }
  CHECK(AlibiPositions(3).scores(2, 5).dtype() == DType::kFloat32);
}

TEST_CASE("T5's buckets: one distance each, then ever more, then the last", "[attention][positions]") {
  // 32 buckets up to 128. Bidirectional: 16 each way, 8 exact; then 8 between 8 and 128, a factor of sqrt(2) each.
  const auto both = [](int64_t distance) { return relative_bucket(distance); };
  for (int64_t d = 0; d < 8; ++d) CHECK(both(-d) == d);
  for (int64_t d = 1; d < 8; ++d) CHECK(both(d) == 16 + d);
  for (int64_t d = 8; d < 400; ++d) {
    int64_t bucket = 8;
    while (bucket < 15 && 8 * std::pow(2, static_cast<double>(bucket + 1 - 8) / 2) <= static_cast<double>(d) + 1e-9)
      ++bucket;
    CHECK(both(-d) == bucket);
    CHECK(both(d) == 16 + bucket);
  }
  const RelativeBucketsOptions past{.bidirectional = false};
  for (int64_t d = 0; d < 16; ++d) CHECK(relative_bucket(-d, past) == d);
  for (int64_t d = 1; d < 300; ++d) CHECK(relative_bucket(d, past) == 0);
  for (int64_t d = 16; d < 400; ++d) {
    int64_t bucket = 16;
    while (bucket < 31 && 16 * std::pow(8, static_cast<double>(bucket + 1 - 16) / 16) <= static_cast<double>(d) + 1e-9)
      ++bucket;
    CHECK(relative_bucket(-d, past) == bucket);
  }
}

TEST_CASE("T5's scores are rows of the table", "[attention][positions]") {
  const RelativeBucketsOptions options{.buckets = 8, .max_distance = 6};
  RelativeBuckets buckets(3, options);
  randomise(buckets);
  const Tensor weight = buckets.state_dict()[0].second;
  CHECK(weight.shape() == Shape{8, 3});
  const Tensor table = buckets.scores(4, 9, 2).value();
  REQUIRE(table.shape() == Shape{1, 3, 4, 9});
  for (int64_t h = 0; h < 3; ++h) {
    for (int64_t t = 0; t < 4; ++t) {
      for (int64_t s = 0; s < 9; ++s) {
        CHECK(table.select(0, 0).select(0, h).select(0, t).select(0, s).item() ==
              weight.select(0, relative_bucket(s - t - 2, options)).select(0, h).item());
      }
    }
  }
  // The same for shifted queries and keys.
  CHECK(same_values(buckets.scores(3, 5, 2).value(), buckets.scores(3, 6, 3).value().slice(3, 1, 6)));
}

TEST_CASE("multi-head attention with positions is its parts put together", "[attention][positions]") {
  const Extents e{3, 2, 5, 5};
  const Variable x(random_tensor({3, 5, 8}));
  for (const PositionOptions& options : {PositionOptions(RotaryOptions{}), PositionOptions(AlibiOptions{}),
                                         PositionOptions(RelativeBucketsOptions{.buckets = 4, .max_distance = 3})}) {
    for (bool separate : {false, true}) {
      MultiHeadAttention attn(8, 2, {.positions = options});
      randomise(attn);
      attn.to(DType::kFloat64);
      const std::unique_ptr<AttentionPositions> positions = make_positions(options, 2, 4);
      StateDict own;
      StateDict state;
      for (const auto& [name, tensor] : attn.state_dict()) {
        if (name.starts_with("positions.")) own.emplace_back(name.substr(10), tensor);
        if (!name.starts_with("positions.")) state.emplace_back(name, tensor);
      }
      positions->load_state_dict(own);
      positions->to(DType::kFloat64);
      MultiHeadAttention plain(8, 2);
      plain.load_state_dict(state);
      plain.to(DType::kFloat64);
      const auto weight = [&](size_t i) { return Variable(state[i].second); };
      const Variable qkv = reshape(linear(x, weight(0), weight(1)), {3, 5, 3, 2, 4});
      for (const char* name : {"none", "causal & padding", "all of them"}) {
        const MaskKind& kind = kind_named(name);
        AttentionMask mask = kind.make(e, DType::kFloat64);
        const Variable y = separate ? attn(x, x, x, mask).output : attn(x, mask).output;
        const Variable added = positions->scores(5, 5);
        if (added.defined()) mask = mask & AttentionMask::bias(added);
        ScaledDotProduct core;
        const Variable heads =
            core(positions->turn(select(qkv, 2, 0)), positions->turn(select(qkv, 2, 1)), select(qkv, 2, 2), mask)
                .output;
        const Variable expected = linear(reshape(heads, {3, 5, 8}), weight(2), weight(3));
        CHECK(max_difference(y.value(), expected.value()) < 1e-13);
        CHECK(max_difference(y.value(), attn(x, x, kind.make(e, DType::kFloat64)).output.value()) < 1e-13);
        CHECK(max_difference(y.value(), plain(x, kind.make(e, DType::kFloat64)).output.value()) > 1e-3);
      }
    }
  }
}

TEST_CASE("positions have right gradients", "[attention][positions][gradcheck]") {
  for (RotaryLayout layout : kLayouts) {
    RotaryPositions rotary(6, {.layout = layout, .size = 4});
    check_gradients(rotary, {random_tensor({2, 3, 2, 6})}, [&](auto x) { return rotary.turn(x[0], 7); });
  }
  const Extents e{2, 2, 3, 3};
  for (const PositionOptions& options : {PositionOptions(RotaryOptions{}), PositionOptions(AlibiOptions{}),
                                         PositionOptions(RelativeBucketsOptions{.buckets = 4, .max_distance = 3})}) {
    for (const char* name : {"none", "causal & padding", "bias [T, S]"}) {
      MultiHeadAttention attn(4, 2, {.positions = options});
      randomise(attn);
      const AttentionMask mask = kind_named(name).make(e, DType::kFloat64);
      check_gradients(attn, {random_tensor({2, 3, 4})}, [&](auto x) { return attn(x[0], mask).output; });
    }
  }
}

TEST_CASE("positions' errors say what is expected", "[attention][positions][errors]") {
  CHECK_THROWS_AS(RotaryPositions(5), ValueError);
  CHECK_THROWS_AS(RotaryPositions(4, {.size = 6}), ValueError);
  CHECK_THROWS_AS(RotaryPositions(4, {.base = 0}), ValueError);
  CHECK_THROWS_AS(AlibiPositions(0), ValueError);
  CHECK_THROWS_AS(RelativeBuckets(2, {.buckets = 6}), ValueError);
  CHECK_THROWS_AS(RelativeBuckets(2, {.buckets = 8, .max_distance = 2}), ValueError);
  CHECK(error_text<ShapeError>([&] {
          RotaryPositions(4).turn(Variable(Tensor::zeros({2, 3, 4})));
        }) == "RotaryPositions: x is [2, 3, 4], expected [B, N, H, 4]");
}
