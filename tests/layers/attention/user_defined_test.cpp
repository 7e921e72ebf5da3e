// Score and mask functions of the user's, against what is built in.
#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "autograd/ops/attention.h"
#include "layers/attention/scaled_dot_product.h"
#include "tests/support/devices.h"
#include "tests/support/tensors.h"

namespace attune::testing {
namespace {

struct Shapes {
  int64_t queries, keys;
};

// The second crosses the blocks of the fused kernel backward, the third forward.
constexpr Shapes kShapes[] = {{5, 7}, {140, 600}, {52, 1100}};
constexpr int64_t kBatch = 2, kHeads = 3, kSize = 8;

struct Outcome {
  Tensor output, dq, dk, dv;
};

Outcome attend(const Shapes& shape, const ScaledDotProductOptions& options, const AttentionMask& mask) {
  manual_seed(3);
  ScaledDotProduct core(options);
  const auto operand = [&](int64_t rows, int seed) {
    return Variable(random_tensor({kBatch, rows, kHeads, kSize}, DType::kFloat64, static_cast<uint64_t>(seed)), true);
  };
  const Variable q = operand(shape.queries, 1), k = operand(shape.keys, 2), v = operand(shape.keys, 3);
  const Variable y = core(q, k, v, mask).output;
  y.backward(random_tensor(y.shape(), DType::kFloat64, 4));
  return {y.value(), q.grad(), k.grad(), v.grad()};
}

void check_same(const Outcome& a, const Outcome& b) {
  CHECK(max_difference(a.output, b.output) < 1e-13);
  CHECK(max_difference(a.dq, b.dq) < 1e-12);
  CHECK(max_difference(a.dk, b.dk) < 1e-12);
  CHECK(max_difference(a.dv, b.dv) < 1e-12);
}

double slope_of(int head) { return std::exp2(-8.0 * (head + 1) / kHeads); }

}  // namespace

TEST_CASE("ALiBi, softcap, causal and window as formulas equal the built-in ones", "[attention][user]") {
  for (const AttentionPath path : {AttentionPath::kFused, AttentionPath::kComposed}) {
    for (const Shapes& shape : kShapes) {
      INFO((path == AttentionPath::kFused ? "fused" : "composed") << ", T " << shape.queries);
      const ScoreFunction alibi(
          [](auto s, const ScoreAt& at) { return s - slope_of(at.head) * std::abs(at.query - at.key); });
      Tensor bias = Tensor::empty({kHeads, shape.queries, shape.keys}, DType::kFloat64);
      auto* to = bias.data<double>();
      for (int h = 0; h < kHeads; ++h) {
        for (int64_t t = 0; t < shape.queries; ++t) {
          for (int64_t s = 0; s < shape.keys; ++s) *to++ = -slope_of(h) * static_cast<double>(std::abs(t - s));
        }
      }
      check_same(attend(shape, {.score = alibi, .path = path}, {}),
                 attend(shape, {.path = path},
                        AttentionMask::bias(Variable(bias.reshape({1, kHeads, shape.queries, shape.keys})))));

      const ScoreFunction softcap([](auto s, const ScoreAt&) { return 2 * tanh(s / 2); });
      const ScoreFunction given([](auto s, const ScoreAt&) { return 2 * std::tanh(s / 2); },
                                [](auto s, const ScoreAt&) { return 1 - std::tanh(s / 2) * std::tanh(s / 2); });
      const Outcome capped = attend(shape, {.softcap = 2, .path = path}, {});
      check_same(attend(shape, {.score = softcap, .path = path}, {}), capped);
      check_same(attend(shape, {.score = given, .path = path}, {}), capped);

      const auto causal = AttentionMask::where([](const ScoreAt& at) { return at.key <= at.query; });
      const auto window = AttentionMask::where([](const ScoreAt& at) { return at.key >= at.query - 4; });
      const auto both = AttentionMask::causal() & AttentionMask::window(4, 0);
      check_same(attend(shape, {.path = path}, causal & window), attend(shape, {.path = path}, both));
      check_same(attend(shape, {.dropout = 0.3, .path = path}, causal & AttentionMask::window(4, 0)),
                 attend(shape, {.dropout = 0.3, .path = path}, both));
    }
  }
}

// The emulated device computes by the host's formulas, so that any kernel will do.
TEST_CASE("functions compiled for CUDA devices are not fetched to the host", "[attention][user][cuda]") {
  const Device cuda = cuda_or_skip();
  if (!is_emulated(cuda)) SKIP("a device that counts how often the host waits for it is needed");
  const CudaFormula compiled{nullptr, [](const FormulaKernelName&) -> const void* { return nullptr; }};
  const ScoreFunction score([](auto s, const ScoreAt& at) { return s * s - 0.1 * at.key; });
  const MaskFunction causal([](const ScoreAt& at) { return at.key <= at.query; });
  const MaskFunction even([](const ScoreAt& at) { return at.key % 2 == 0; });
  const auto attend_on = [](Device device, const ScoreFunction& function, const MaskFunction& where, int64_t& waits) {
    const auto operand = [&](uint64_t seed) {
      return Variable(random_tensor({2, 9, 3, 4}, DType::kFloat64, seed).to(device), true);
    };
    const Variable q = operand(1), k = operand(2), v = operand(3);
    const Tensor dy = random_tensor({2, 9, 3, 4}, DType::kFloat64, 4).to(device);
    const int64_t before = device.is_cpu() ? 0 : emulated_waits();
    const Variable y = attention(q, k, v, {.where = where}, {}, {.score = function}).output;
    y.backward(dy);
    waits = device.is_cpu() ? 0 : emulated_waits() - before;
    const auto near = [](const Tensor& x) { return x.to(Device::cpu()); };
    return Outcome{near(y.value()), near(q.grad()), near(k.grad()), near(v.grad())};
  };
  int64_t waits = 0;
  const Outcome wanted = attend_on(Device::cpu(), score, causal & even, waits);
  check_same(attend_on(cuda, score.with(compiled), causal.with(compiled) & even.with(compiled), waits), wanted);
  CHECK(waits == 0);
  check_same(attend_on(cuda, score.with(compiled), causal & even.with(compiled), waits), wanted);
  CHECK(waits == 0);
  check_same(attend_on(cuda, score, causal & even, waits), wanted);
  CHECK(waits > 0);
  CHECK((causal.with(compiled) & even.with(compiled)).cuda().size() == 2);
  CHECK((causal & even.with(compiled)).cuda().empty());
}

TEST_CASE("a score function after softcap keeps both derivatives", "[attention][user]") {
  const ScoreFunction shifted([](auto s, const ScoreAt& at) { return s * 0.5 + 0.01 * at.key; });
  for (const Shapes& shape : kShapes) {
    check_same(attend(shape, {.softcap = 3, .score = shifted, .path = AttentionPath::kFused}, {}),
               attend(shape, {.softcap = 3, .score = shifted, .path = AttentionPath::kComposed}, {}));
  }
}

TEST_CASE("places in a mask function are those of the whole batch", "[attention][user]") {
  // Sample b's head h sees key (b + h) alone, so the output is that value.
  const auto mask = AttentionMask::where([](const ScoreAt& at) { return at.key == at.batch + at.head; });
  const Tensor q = random_tensor({kBatch, 3, kHeads, kSize}, DType::kFloat64, 1);
  const Tensor v = random_tensor({kBatch, 6, kHeads, kSize}, DType::kFloat64, 2);
  ScaledDotProduct core;
  const Tensor y = core(Variable(q), Variable(v), Variable(v), mask).output.value();
  for (int64_t b = 0; b < kBatch; ++b) {
    for (int64_t h = 0; h < kHeads; ++h) {
      for (int64_t t = 0; t < 3; ++t) {
        CHECK(max_difference(y.select(0, b).select(0, t).select(0, h), v.select(0, b).select(0, b + h).select(0, h)) ==
              0);
      }
    }
  }
}

}  // namespace attune::testing
