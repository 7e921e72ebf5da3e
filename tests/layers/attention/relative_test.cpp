#include "layers/attention/relative.h"

#include <algorithm>
#include <cmath>

#include "autograd/tape.h"
#include "framework/error.h"
#include "tests/layers/attention/similarity.h"
#include "tests/support/errors.h"

using namespace attune;
using namespace attune::testing;

namespace {

int64_t row_of(const Extents& e, int64_t t, int64_t s, int64_t farthest) {
  return std::clamp(s - (t + e.keys - e.queries), -farthest, farthest) + farthest;
}

}  // namespace

TEST_CASE("relative attention is the paper's formula under every mask", "[attention][relative]") {
  for (const Extents& e : {kExtents[0], kExtents[2]}) {
    for (int64_t key_heads : {e.heads, int64_t{1}}) {
      const Operands in = operands(e, DType::kFloat64, key_heads);
      RelativeAttention core(4, {.max_distance = 2, .value_size = 3});
      randomise(core);
      core.to(DType::kFloat64);
      const StateDict state = core.state_dict();
      const Tensor& key = state[0].second;
      const Tensor& value = state[1].second;
      CHECK(key.shape() == Shape{5, 4});
      CHECK(value.shape() == Shape{5, 3});
      for (const MaskKind& kind : mask_kinds()) {
        INFO(kind.name << ", S " << e.keys << ", key heads " << key_heads);
        Attended expected = attend_by_similarity(e, in.v, kind, [&](int64_t b, int64_t h, int64_t t, int64_t s) {
          const double* q = head_row(in.q, b, t, h);
          const double* k = head_row(in.k, b, s, h / (e.heads / key_heads));
          const double* a = key.data<double>() + row_of(e, t, s, 2) * 4;
          return std::exp((dot(q, k, 4) + dot(q, a, 4)) / 2);
        });
        const double* w = expected.weights.data<double>();
        for (int64_t b = 0; b < e.batch; ++b) {
          for (int64_t h = 0; h < e.heads; ++h) {
            for (int64_t t = 0; t < e.queries; ++t) {
              Tensor y = expected.output.select(0, b).select(0, t).select(0, h);
              for (int64_t s = 0; s < e.keys; ++s, ++w) {
                for (int64_t i = 0; i < 3; ++i) {
                  y.data<double>()[i] += *w * value.data<double>()[row_of(e, t, s, 2) * 3 + i];
                }
              }
            }
          }
        }
        for (bool weights : {false, true}) {
          const NoGrad no_grad;
          const AttentionResult result =
              core(Variable(in.q), Variable(in.k), Variable(in.v), kind.make(e, DType::kFloat64), weights);
          CHECK(max_difference(result.output.value(), expected.output) < 1e-13);
          if (weights) CHECK(max_difference(result.weights.value(), expected.weights) < 1e-13);
        }
      }
    }
  }
}

TEST_CASE("relative attention without positions is scaled dot product", "[attention][relative]") {
  const Operands in = operands(kSmall);
  RelativeAttention core(4, {.max_distance = 3, .values = false});
  CHECK(core.state_dict().size() == 1);
  for (auto& [name, tensor] : core.state_dict()) Tensor(tensor).zero_();
  core.to(DType::kFloat64);
  for (const MaskKind& kind : mask_kinds()) {
    INFO(kind.name);
    const Attended expected = attend_by_formula(in.q, in.k, in.v, kind);
    const NoGrad no_grad;
    const Variable y = core(Variable(in.q), Variable(in.k), Variable(in.v), kind.make(kSmall, DType::kFloat64)).output;
    CHECK(max_difference(y.value(), expected.output) < 1e-13);
  }
}

TEST_CASE("relative attention: what is masked takes part in nothing", "[attention][relative][contract]") {
  RelativeAttention core(4, {.max_distance = 2, .value_size = 3});
  core.to(DType::kFloat64);
  for (const MaskKind& kind : mask_kinds()) {
    INFO(kind.name);
    check_masked_keys(core, kSmall, kind);
  }
}

TEST_CASE("relative attention has right gradients under every mask", "[attention][relative][gradcheck]") {
  RelativeAttention core(4, {.max_distance = 2, .value_size = 3});
  for (const MaskKind& kind : mask_kinds()) check_core_gradients(core, kind, true);
  // Dropout: the same weights are dropped for values and for relative values.
  RelativeAttention dropping(4, {.max_distance = 2, .value_size = 3, .dropout = 0.4});
  const Operands in = operands({2, 2, 3, 4});
  check_gradients(dropping, {in.q, in.k, in.v}, [&](std::span<const Variable> x) {
    manual_seed(5);
    return dropping(x[0], x[1], x[2]).output;
  });
  dropping.eval();
  const NoGrad no_grad;
  const Variable q(in.q), k(in.k), v(in.v);
  CHECK(same_values(dropping(q, k, v).output.value(), dropping(q, k, v).output.value()));
}

TEST_CASE("relative attention's errors name the argument", "[attention][relative][errors]") {
  CHECK_THROWS_AS(RelativeAttention(0), ValueError);
  CHECK_THROWS_AS(RelativeAttention(4, {.max_distance = 0}), ValueError);
  CHECK_THROWS_AS(RelativeAttention(4, {.dropout = 1}), ValueError);
  const Variable x(Tensor::zeros({1, 2, 2, 6}));
  CHECK(error_text<ShapeError>([&] { RelativeAttention(4)(x, x, x); }) ==
        "RelativeAttention: q is [1, 2, 2, 6] and v [1, 2, 2, 6], expected heads of size 4 and 4");
}
