#include "layers/attention/linformer.h"

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "tests/layers/attention/similarity.h"
#include "tests/support/errors.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr const char* kKinds[] = {"none", "padding", "keep [B, 1, 1, S]", "padding & padding"};

void set_identity(Module& module) {
  for (auto& [name, tensor] : module.state_dict()) {
    Tensor weight = tensor;
    weight.zero_();
    for (int64_t i = 0; i < std::min(weight.dim(-1), weight.dim(-2)); ++i)
      weight.slice(-2, i, i + 1).slice(-1, i, i + 1).fill_(1);
  }
}

}  // namespace

TEST_CASE("Linformer with E = F = I is full attention, padded or not", "[attention][linformer]") {
  for (const Extents& e : {kExtents[0], kExtents[2]}) {
    for (LinformerSharing sharing : {LinformerSharing::kNone, LinformerSharing::kHeads, LinformerSharing::kKeyValue}) {
      for (int64_t key_heads : {e.heads, int64_t{1}}) {
        const Operands in = operands(e, DType::kFloat64, key_heads);
        Linformer core({.keys = 9, .projected = 9, .heads = key_heads, .sharing = sharing});
        set_identity(core);
        core.to(DType::kFloat64);
        for (const char* name : kKinds) {
          INFO(name << ", S " << e.keys << ", key heads " << key_heads);
          const MaskKind& kind = kind_named(name);
          const Attended expected = attend_by_formula(in.q, in.k, in.v, kind);
          const Variable q(in.q), k(in.k), v(in.v);
          const AttentionMask mask = kind.make(e, DType::kFloat64);
          const NoGrad no_grad;
          const AttentionResult with = core(q, k, v, mask, true);
          CHECK(max_difference(with.output.value(), expected.output) < 1e-13);
          CHECK(max_difference(with.weights.value(), expected.weights) < 1e-13);
          CHECK(max_difference(core(q, k, v, mask).output.value(), expected.output) < 1e-13);
        }
      }
    }
  }
}

TEST_CASE("Linformer attends between projected keys", "[attention][linformer]") {
  const Extents e{2, 2, 5, 7};
  const Operands in = operands(e);
  Linformer core({.keys = 8, .projected = 3});
  core.to(DType::kFloat64);
  const StateDict state = core.state_dict();
  const auto project = [&](const Tensor& table, const Tensor& x, int64_t b, int64_t length) {
    const Variable rows = permute(Variable(x.slice(0, b, b + 1).slice(1, 0, length)), {0, 2, 1, 3});  // [1, H, n, K]
    return permute(matmul(Variable(table.slice(1, 0, length)), rows), {0, 2, 1, 3}).value();
  };
  const NoGrad no_grad;
  const std::vector<int64_t> lengths{7, 4};
  const AttentionMask mask = AttentionMask::padding(Tensor::from(lengths, {2}));
  const Tensor y = core(Variable(in.q), Variable(in.k), Variable(in.v), mask).output.value();
  const AttentionResult with = core(Variable(in.q), Variable(in.k), Variable(in.v), mask, true);
  CHECK(max_difference(with.output.value(), y) < 1e-13);
  for (int64_t b = 0; b < 2; ++b) {
    const int64_t length = lengths[static_cast<size_t>(b)];
    const Attended expected = attend_by_formula(in.q.slice(0, b, b + 1), project(state[0].second, in.k, b, length),
                                                project(state[1].second, in.v, b, length), kind_named("none"));
    CHECK(max_difference(y.slice(0, b, b + 1), expected.output) < 1e-13);
  }
  // Weights times values are the output.
  const Variable product = matmul(with.weights, permute(Variable(in.v), {0, 2, 1, 3}));
  CHECK(max_difference(permute(product, {0, 2, 1, 3}).value(), y) < 1e-13);
  CHECK(all_zero(with.weights.value().select(0, 1).slice(-1, 4, 7)));
}

TEST_CASE("Linformer: what is masked takes part in nothing", "[attention][linformer][contract]") {
  for (const Extents& e : {kExtents[0], kExtents[2]}) {
    Linformer core({.keys = 8, .projected = 3});
    core.to(DType::kFloat64);
    for (const char* name : kKinds) {
      INFO(name);
      check_masked_keys(core, e, kind_named(name));
    }
  }
}

TEST_CASE("Linformer has right gradients", "[attention][linformer][gradcheck]") {
  for (LinformerSharing sharing : {LinformerSharing::kNone, LinformerSharing::kHeads, LinformerSharing::kKeyValue}) {
    Linformer core({.keys = 5, .projected = 3, .heads = 2, .sharing = sharing});
    for (const char* name : kKinds) {
      for (bool weights : {false, true}) check_core_gradients(core, kind_named(name), weights);
    }
  }
}

TEST_CASE("Linformer refuses masks that differ from query to query", "[attention][linformer][errors]") {
  struct Model : Module {
    Linformer& core = child<Linformer>("core", LinformerOptions{.keys = 6, .projected = 3});
  } model;
  const Operands in = operands({1, 1, 4, 6}, DType::kFloat32);
  const auto with = [&](const AttentionMask& mask) {
    return error_text<ValueError>([&] { model.core(Variable(in.q), Variable(in.k), Variable(in.v), mask); });
  };
  CHECK(with(AttentionMask::causal()) ==
        "core: all keys flow into each projected one; expected a mask that is the same for all queries, padding(...) "
        "or keep(...) of extents [B, H, 1, S]");
  with(AttentionMask::window(1, -1));
  with(AttentionMask::where([](const ScoreAt& at) { return at.key < 3; }));
  with(AttentionMask::keep(Tensor::zeros({4, 6}, DType::kBool)));
  with(AttentionMask::bias(Variable(Tensor::zeros({4, 6}))));
  const Operands longer = operands({1, 1, 4, 7}, DType::kFloat32);
  CHECK(error_text<ShapeError>([&] { model.core(Variable(longer.q), Variable(longer.k), Variable(longer.v)); }) ==
        "core: k is [1, 7, 1, 4], expected at most 6 keys");
  CHECK_THROWS_AS(Linformer({.keys = 0}), ValueError);
  CHECK_THROWS_AS(Linformer({.sharing = LinformerSharing::kNone}), ValueError);
  CHECK_THROWS_AS(Linformer({.dropout = 1}), ValueError);
}
