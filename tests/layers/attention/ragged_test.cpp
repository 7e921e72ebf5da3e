// Positions by sample: prompts of different lengths in one batch.

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <limits>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/attention/multi_head.h"
#include "layers/attention/scaled_dot_product.h"
#include "layers/transformer/decoder.h"
#include "layers/transformer/encoder.h"
#include "layers/transformer/positional.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"
#include "tests/support/tensors.h"

using namespace attune;
using namespace attune::testing;

namespace {

Tensor ints(const std::vector<int64_t>& values) { return Tensor::from(values, {static_cast<int64_t>(values.size())}); }

/// bool [B, 1, T, S] of a formula.
template <class F>
AttentionMask kept(const std::vector<int64_t>& offsets, int64_t queries, int64_t keys, F&& allowed) {
  const auto batch = static_cast<int64_t>(offsets.size());
  Tensor keep = Tensor::empty({batch, 1, queries, keys}, DType::kBool);
  bool* to = keep.data<bool>();
  for (const int64_t offset : offsets) {
    for (int64_t t = 0; t < queries; ++t) {
      for (int64_t s = 0; s < keys; ++s) *to++ = allowed(t + offset, s);
    }
  }
  return AttentionMask::keep(keep);
}

Tensor weights_under(const AttentionMask& mask, int64_t batch, int64_t queries, int64_t keys) {
  ScaledDotProduct core;
  const Variable q(random_tensor({batch, queries, 2, 4}, DType::kFloat64, 1));
  const Variable k(random_tensor({batch, keys, 2, 4}, DType::kFloat64, 2));
  return core(q, k, k, mask, true).weights.value();
}

/// The rows of x [B, N, .] at `samples`, positions begin ... end - 1.
Variable part(const Variable& x, int64_t sample, int64_t begin, int64_t end) {
  return slice(slice(x, 0, sample, sample + 1), 1, begin, end);
}

constexpr int64_t kDim = 8, kLongest = 9;

struct Positions {
  const char* name;
  PositionOptions options;
};
const Positions kPositions[] = {
    {"none", {}}, {"rotary", RotaryOptions{}}, {"ALiBi", AlibiOptions{}}, {"buckets", RelativeBucketsOptions{}}};

BlockOptions block(const PositionOptions& positions) {
  return {.dim = kDim,
          .heads = 4,
          .ffn_dim = 6,
          .dropout = 0,
          .activation = Activation::kSilu,
          .norm_first = true,
          .bias = false,
          .key_heads = 2,
          .positions = positions,
          .feed_forward = FeedForwardKind::kGated,
          .norm = NormKind::kRms};
}

const std::vector<int64_t> kPrompts = {2, 5, 3};

/// step(x, positions) of a ragged batch against alone(sample, x) of each sample by itself: the prompts, then token by
/// token until the longest has kLongest.
template <class Step, class Alone>
void check_ragged(const Variable& text, Step&& step, Alone&& alone) {
  const auto batch = static_cast<int64_t>(kPrompts.size());
  const int64_t prompt = *std::max_element(kPrompts.begin(), kPrompts.end());
  const Variable first = step(slice(text, 1, 0, prompt), ints({0, 0, 0}));
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t length = kPrompts[static_cast<size_t>(b)];
    CHECK(max_difference(part(first, b, 0, length).value(), alone(b, part(text, b, 0, length)).value()) < 1e-12);
  }
  std::vector<int64_t> at = kPrompts;
  while (*std::max_element(at.begin(), at.end()) < kLongest) {
    std::vector<Variable> tokens;
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t n = at[static_cast<size_t>(b)];
      tokens.push_back(part(text, b, n, n + 1));
    }
    const Variable y = step(concat(tokens, 0), ints(at));
    for (int64_t b = 0; b < batch; ++b) {
      INFO("sample " << b << " at " << at[static_cast<size_t>(b)]);
      CHECK(max_difference(part(y, b, 0, 1).value(), alone(b, tokens[static_cast<size_t>(b)]).value()) < 1e-12);
      ++at[static_cast<size_t>(b)];
    }
  }
}

}  // namespace

TEST_CASE("masks by sample: causal and windows stand at each sample's own offset", "[attention][mask][ragged]") {
  const std::vector<int64_t> offsets = {0, 4, -2};
  const Tensor by_sample = ints(offsets);
  CHECK(same_values(weights_under(AttentionMask::causal(by_sample), 3, 3, 7),
                    weights_under(kept(offsets, 3, 7, [](int64_t p, int64_t s) { return s <= p; }), 3, 3, 7)));
  CHECK(same_values(
      weights_under(AttentionMask::window(1, 2, by_sample), 3, 3, 7),
      weights_under(kept(offsets, 3, 7, [](int64_t p, int64_t s) { return p - 1 <= s && s <= p + 2; }), 3, 3, 7)));
  CHECK(same_values(weights_under(AttentionMask::window(1, -1, by_sample), 3, 3, 7),
                    weights_under(kept(offsets, 3, 7, [](int64_t p, int64_t s) { return p - 1 <= s; }), 3, 3, 7)));
  // The same offset for all is the mask of that offset.
  CHECK(max_difference(weights_under(AttentionMask::causal(ints({3, 3})), 2, 3, 7),
                       weights_under(AttentionMask::causal(int64_t{3}), 2, 3, 7)) < 1e-15);
  // Masks by sample compose with others and with one another.
  const AttentionMask padding = AttentionMask::padding(ints({7, 5, 6}));
  CHECK(same_values(
      weights_under(AttentionMask::causal(by_sample) & AttentionMask::window(2, -1, by_sample) & padding, 3, 3, 7),
      weights_under(kept(offsets, 3, 7, [](int64_t p, int64_t s) { return p - 2 <= s && s <= p; }) & padding, 3, 3,
                    7)));
  // Far offsets allow everything or nothing.
  const Tensor far = weights_under(
      AttentionMask::causal(ints({std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()})), 2, 3, 4);
  CHECK(max_difference(far.slice(0, 0, 1), weights_under({}, 2, 3, 4).slice(0, 0, 1)) < 1e-15);
  CHECK(all_zero(far.slice(0, 1, 2)));
}

TEST_CASE("masks by sample: what does not fit is refused", "[attention][mask][ragged][errors]") {
  CHECK(error_text<DTypeError>([] { AttentionMask::causal(Tensor::zeros({2})); }) ==
        "AttentionMask::causal: expected offsets of int64, got float32");
  CHECK(error_text<ShapeError>([] {
          AttentionMask::window(1, 1, ints({1, 2}).view({1, 2}));
        }) == "AttentionMask::window: shape [1, 2] given, expected offsets [B]");
  CHECK_THROWS_AS(AttentionMask::window(-2, 1, ints({1, 2})), ValueError);
  CHECK(error_text<ShapeError>([] {
          weights_under(AttentionMask::causal(ints({1, 2})), 3, 2, 2);
        }) == "attention: AttentionMask has 2 offsets by sample, expected one per sample, 3");
}

TEST_CASE("rotary positions by token are those of each sample by itself", "[attention][ragged]") {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    RotaryPositions rotary(6, {.size = 4});
    const Variable x(random_tensor({3, 40, 2, 6}, dtype, 1));
    const std::vector<int64_t> offsets = {0, 7, 1000};
    const Tensor turned = rotary.turn(x, positions_from(ints(offsets), 40)).value();
    for (int64_t b = 0; b < 3; ++b) {
      const Variable alone = rotary.turn(slice(x, 0, b, b + 1), offsets[static_cast<size_t>(b)]);
      CHECK(same_values(turned.slice(0, b, b + 1), alone.value()));
    }
    // Any order.
    const Tensor backwards =
        rotary.turn(slice(slice(x, 0, 0, 1), 1, 0, 2), Tensor::from<int64_t>({5, 3}, {1, 2})).value();
    CHECK(same_values(backwards.slice(1, 0, 1), rotary.turn(part(x, 0, 0, 1), 5).value()));
    CHECK(same_values(backwards.slice(1, 1, 2), rotary.turn(part(x, 0, 1, 2), 3).value()));
  }
  RotaryPositions rotary(4);
  const Variable x(Tensor::zeros({2, 3, 1, 4}));
  CHECK(error_text<ShapeError>([&] {
          rotary.turn(x, ints({0, 1}));
        }) == "RotaryPositions: positions are [2], expected [2, 3] as x has samples and tokens");
  CHECK_THROWS_AS(rotary.turn(x, Tensor::zeros({2, 3})), DTypeError);
}

TEST_CASE("positions that are added, by token", "[layers][ragged]") {
  const Variable x(random_tensor({2, 3, 4}, DType::kFloat32, 1));
  const SinusoidalPositions sinusoidal(4, 10);
  const LearnedPositions learned(4, 10);
  const Tensor positions = positions_from(ints({0, 5}), 3);
  CHECK(max_difference(sinusoidal(x, positions).value().slice(0, 1, 2), sinusoidal(slice(x, 0, 1, 2), 5).value()) == 0);
  CHECK(max_difference(learned(x, positions).value().slice(0, 1, 2), learned(slice(x, 0, 1, 2), 5).value()) == 0);
  CHECK_THROWS_AS(learned(x, positions_from(ints({0, 8}), 3)), ValueError);
  CHECK(error_text<ShapeError>([&] {
          learned(x, ints({0, 5}));
        }) == "LearnedPositions: positions are [2], expected [2, 3] as x has samples and tokens");
}

TEST_CASE("a cache is written at positions by sample", "[attention][cache][ragged]") {
  AttentionCache cache;
  const auto filled = [](int64_t count, double value) { return Tensor::full({2, count, 1, 1}, value); };
  cache.write(filled(3, 1), filled(3, -1), ints({0, 0}));
  CHECK(cache.lengths() == std::vector<int64_t>{3, 3});
  cache.write(filled(1, 2), filled(1, -2), ints({1, 3}));
  CHECK(cache.length() == 4);
  CHECK(cache.lengths() == std::vector<int64_t>{2, 4});
  CHECK(testing::values(cache.keys().select(0, 0).slice(0, 0, 2)) == std::vector<double>{1, 2});
  CHECK(testing::values(cache.values().select(0, 1)) == std::vector<double>{-1, -1, -1, -2});
  // Grown: nothing is lost.
  cache.write(filled(6, 3), filled(6, -3), ints({2, 4}));
  CHECK(testing::values(cache.keys().select(0, 0).slice(0, 0, 8)) == std::vector<double>{1, 2, 3, 3, 3, 3, 3, 3});
  cache.select(ints({1, 1, 0}));
  CHECK(cache.lengths() == std::vector<int64_t>{10, 10, 8});

  const auto one = Tensor::zeros({3, 1, 1, 1});
  CHECK(error_text<ValueError>([&] {
          cache.write(one, one, ints({10, 11, 0}));
        }) == "AttentionCache: sample 1 is to go on at position 11, expected 0 ... 10, what it holds");
  CHECK(error_text<ValueError>([&] { cache.append(one, one); }) ==
        "AttentionCache: sample 2 holds 8 positions and another 10; say where each goes on, by write");
  CHECK_THROWS_AS(cache.write(one, one, ints({1, 1})), ShapeError);
  CHECK_THROWS_AS(cache.write(one, one, Tensor::zeros({3})), DTypeError);
  CHECK(cache.lengths() == std::vector<int64_t>{10, 10, 8});
}

TEST_CASE("a ragged batch of prompts decodes token by token as each alone", "[layers][ragged]") {
  const Variable text(random_tensor({3, kLongest + 3, kDim}, DType::kFloat64, 1));
  for (const Positions& positions : kPositions) {
    for (const bool norm_first : {true, false}) {
      INFO(positions.name << ", norm_first " << norm_first);
      BlockOptions options = block(positions.options);
      options.norm_first = norm_first;
      TransformerEncoder stack({.blocks = 2, .block = options});
      randomise(stack);
      stack.to(DType::kFloat64);
      TransformerEncoderCache cache = stack.start();
      std::vector<TransformerEncoderCache> own;
      for (size_t b = 0; b < kPrompts.size(); ++b) own.push_back(stack.start(1));
      check_ragged(
          text, [&](const Variable& x, const Tensor& at) { return stack.step(x, cache, at); },
          [&](int64_t b, const Variable& x) { return stack.step(x, own[static_cast<size_t>(b)]); });
      CHECK(cache.length() == kLongest);

      // And each alone is the whole sequence at once.
      const NoGrad values_only;
      TransformerEncoderCache whole = stack.start();
      const Tensor stepped = stack.step(text, whole).value();
      CHECK(max_difference(stepped, stack(text, AttentionMask::causal()).value()) < 1e-12);
    }
  }
}

TEST_CASE("a ragged batch decodes with a memory as each alone", "[layers][decoder][ragged]") {
  const Variable text(random_tensor({3, kLongest + 3, kDim}, DType::kFloat64, 1));
  const Variable memory(random_tensor({3, 4, kDim}, DType::kFloat64, 2));
  const std::vector<int64_t> lengths = {4, 2, 3};
  TransformerDecoder decoder({.blocks = 2, .block = block(RotaryOptions{})});
  randomise(decoder);
  decoder.to(DType::kFloat64);
  TransformerDecoderCache cache = decoder.start(memory, ints(lengths));
  std::vector<TransformerDecoderCache> own;
  for (int64_t b = 0; b < 3; ++b) {
    own.push_back(decoder.start(slice(memory, 0, b, b + 1), ints({lengths[static_cast<size_t>(b)]})));
  }
  check_ragged(
      text, [&](const Variable& x, const Tensor& at) { return decoder.step(x, cache, at); },
      [&](int64_t b, const Variable& x) { return decoder.step(x, own[static_cast<size_t>(b)]); });
}

TEST_CASE("steps at positions that do not fit change nothing", "[attention][ragged][errors]") {
  MultiHeadAttention attn(kDim, 2);
  AttentionCache cache;
  const Variable x(Tensor::zeros({2, 1, kDim}));
  CHECK(error_text<ShapeError>([&] {
          attn.step(x, cache, ints({0, 0, 0}));
        }) == "MultiHeadAttention: positions are [3], expected [2] as x has samples");
  CHECK_THROWS_AS(attn.step(x, cache, ints({0, 1})), ValueError);
  CHECK(cache.length() == 0);
  attn.step(x, cache, ints({0, 0}));
  CHECK_THROWS_AS(attn.step(x, cache, ints({1, 1}), AttentionMask::padding(ints({9, 9}))), ValueError);
  CHECK(cache.lengths() == std::vector<int64_t>{1, 1});
}
