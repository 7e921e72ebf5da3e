#include "layers/attention/multi_head.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>
#include <memory>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/attention/scaled_dot_product.h"
#include "tests/support/attention.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"
#include "tests/support/parameters.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kDim = 6;
constexpr int64_t kHeads = 2;
constexpr AttentionPath kPaths[] = {AttentionPath::kFused, AttentionPath::kComposed};
const Extents kExtents{3, kHeads, 4, 5};
const Extents kSelf{3, kHeads, 5, 5};

std::unique_ptr<AttentionCore> core(AttentionPath path, double dropout = 0) {
  return std::make_unique<ScaledDotProduct>(ScaledDotProductOptions{.dropout = dropout, .path = path});
}

/// Output, weights, and the gradients of inputs and parameters for random upstream gradients.
std::vector<Tensor> results(MultiHeadAttention& attn, const AttentionResult& result,
                            const std::vector<Variable>& inputs) {
  result.output.backward(random_tensor(result.output.shape(), result.output.dtype(), 9));
  std::vector<Tensor> out{result.output.value()};
  if (result.weights.defined()) out.push_back(result.weights.value());
  for (const Variable& input : inputs) out.push_back(input.grad());
  for (const Variable& parameter : attn.parameters()) out.push_back(parameter.grad().clone());
  attn.zero_grad();
  return out;
}

double largest_difference(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, max_difference(a[i], b[i]));
  return largest;
}

}  // namespace

TEST_CASE("multi-head attention is the heads' attention between projections", "[attention]") {
  for (DType dtype : {DType::kFloat32, DType::kFloat64}) {
    for (AttentionPath path : kPaths) {
      MultiHeadAttention attn(kDim, kHeads, {}, core(path));
      randomise(attn);
      attn.to(dtype);
      const Variable weight(parameter_of(attn, "qkv.weight")), bias(parameter_of(attn, "qkv.bias"));
      const Variable out(parameter_of(attn, "out.weight")), out_bias(parameter_of(attn, "out.bias"));
      const Variable query(random_tensor({3, 4, kDim}, dtype, 1)), memory(random_tensor({3, 5, kDim}, dtype, 2));
      const auto heads = [&](const Variable& x, int64_t part) {
        const Variable y = add(matmul(x, slice(weight, 0, part * kDim, (part + 1) * kDim), false, true),
                               slice(bias, 0, part * kDim, (part + 1) * kDim));
        return reshape(y, {x.dim(0), x.dim(1), kHeads, kDim / kHeads}).value();
      };
      const double allowed = dtype == DType::kFloat32 ? 2e-6 : 1e-13;
      for (const MaskKind& kind : mask_kinds()) {
        INFO(kind.name);
        const Attended by_head = attend_by_formula(heads(query, 0), heads(memory, 1), heads(memory, 2), kind);
        const Variable joined(by_head.output.view({3, 4, kDim}).to(dtype));
        const Tensor expected = add(matmul(joined, out, false, true), out_bias).value();
        for (Weights weights : {Weights::kNone, Weights::kPerHead, Weights::kAveraged}) {
          const AttentionResult result = attn(query, memory, kind.make(kExtents, dtype), weights);
          CHECK(max_difference(result.output.value(), expected) < allowed);
          if (weights == Weights::kNone) CHECK_FALSE(result.weights.defined());
          if (weights == Weights::kPerHead) CHECK(max_difference(result.weights.value(), by_head.weights) < allowed);
          if (weights == Weights::kAveraged) {
            CHECK(max_difference(result.weights.value(), mean(Variable(by_head.weights), {1}).value()) < allowed);
          }
        }
      }
    }
  }
}

TEST_CASE("self-, cross- and three-argument attention agree in value and every gradient", "[attention]") {
  const MultiHeadAttentionOptions variants[] = {{},
                                                {.bias = false},
                                                {.add_bias_kv = true},
                                                {.add_zero_attn = true},
                                                {.add_bias_kv = true, .add_zero_attn = true}};
  for (const MultiHeadAttentionOptions& options : variants) {
    for (AttentionPath path : kPaths) {
      for (const MaskKind& kind : mask_kinds()) {
        for (Weights weights : {Weights::kNone, Weights::kPerHead, Weights::kAveraged}) {
          INFO(kind.name << ", bias_kv " << options.add_bias_kv << ", zero " << options.add_zero_attn);
          MultiHeadAttention attn(kDim, kHeads, options, core(path));
          randomise(attn);
          attn.to(DType::kFloat64);
          const AttentionMask mask = kind.make(kSelf, DType::kFloat64);
          const Tensor value = random_tensor({3, 5, kDim});
          const Variable a(value, true), b(value, true), c(value, true), d(value, true);
          const std::vector<Tensor> self = results(attn, attn(a, mask, weights), {a});
          CHECK(largest_difference(self, results(attn, attn(b, b, mask, weights), {b})) < 1e-12);
          CHECK(largest_difference(self, results(attn, attn(c, c, c, mask, weights), {c})) < 1e-12);

          const Variable q(random_tensor({3, 5, kDim}, DType::kFloat64, 4), true), q2(q.value(), true);
          const std::vector<Tensor> cross = results(attn, attn(q, d, mask, weights), {q, d});
          const Variable e(value, true);
          CHECK(largest_difference(cross, results(attn, attn(q2, e, e, mask, weights), {q2, e})) < 1e-12);
        }
      }
    }
  }
}

TEST_CASE("keys and values of other widths have their own projections", "[attention]") {
  MultiHeadAttention attn(kDim, kHeads, {.kdim = 3, .vdim = 4, .add_bias_kv = true});
  std::vector<std::string> names;
  for (const auto& [name, variable] : attn.named_parameters())
    names.push_back(name + " " + variable.shape().to_string());
  CHECK(names == std::vector<std::string>{"bias_k [6]", "bias_v [6]", "q.weight [6, 6]", "q.bias [6]",
                                          "k.weight [6, 3]", "k.bias [6]", "v.weight [6, 4]", "v.bias [6]",
                                          "out.weight [6, 6]", "out.bias [6]"});
  const Variable y = attn(Variable(Tensor::zeros({2, 4, kDim})), Variable(Tensor::zeros({2, 5, 3})),
                          Variable(Tensor::zeros({2, 5, 4})))
                         .output;
  CHECK(y.shape() == Shape{2, 4, kDim});
  // One memory for both, as wide as neither.
  MultiHeadAttention memory(kDim, kHeads, {.kdim = 3, .vdim = 3});
  CHECK(memory(Variable(Tensor::zeros({2, 4, kDim})), Variable(Tensor::zeros({2, 5, 3}))).output.shape() ==
        Shape{2, 4, kDim});
}

TEST_CASE("multi-head attention has right gradients", "[attention][gradcheck]") {
  const MultiHeadAttentionOptions variants[] = {
      {}, {.bias = false}, {.kdim = 3, .vdim = 5}, {.add_bias_kv = true, .add_zero_attn = true}};
  for (const MultiHeadAttentionOptions& options : variants) {
    for (const char* name : {"none", "causal & padding", "keep [B, H, T, S]"}) {
      for (const MaskKind& kind : mask_kinds()) {
        if (kind.name != name) continue;
        MultiHeadAttention attn(4, kHeads, options);
        randomise(attn);
        const Extents e{2, kHeads, 3, 3};
        const AttentionMask mask = kind.make(e, DType::kFloat64);
        const int64_t kdim = options.kdim == 0 ? 4 : options.kdim;
        const int64_t vdim = options.vdim == 0 ? 4 : options.vdim;
        check_gradients(attn, {random_tensor({2, 3, 4}), random_tensor({2, 3, kdim}), random_tensor({2, 3, vdim})},
                        [&](auto x) { return attn(x[0], x[1], x[2], mask).output; });
        if (kdim == 4 && vdim == 4) {
          check_gradients(attn, {random_tensor({2, 3, 4})}, [&](auto x) { return attn(x[0], mask).output; });
          check_gradients(attn, {random_tensor({2, 3, 4}), random_tensor({2, 3, 4})},
                          [&](auto x) { return attn(x[0], x[1], mask).output; });
        }
      }
    }
  }
}

TEST_CASE("gradients flow through the weights of self- and cross-attention", "[attention][gradcheck]") {
  const Extents e{2, kHeads, 3, 3};
  for (const MaskKind& kind : mask_kinds()) {
    if (kind.name != "none" && kind.name != "causal & padding") continue;
    for (Weights weights : {Weights::kPerHead, Weights::kAveraged}) {
      MultiHeadAttention attn(4, kHeads);
      randomise(attn);
      const AttentionMask mask = kind.make(e, DType::kFloat64);
      check_gradients(attn, {random_tensor({2, 3, 4})}, [&](auto x) { return attn(x[0], mask, weights).weights; });
      check_gradients(attn, {random_tensor({2, 3, 4}), random_tensor({2, 3, 4})},
                      [&](auto x) { return attn(x[0], x[1], mask, weights).weights; });
    }
  }
}

TEST_CASE("contract 1.2, 3.1: a query without keys gets the output bias, and no gradient but that",
          "[attention][contract]") {
  for (AttentionPath path : kPaths) {
    for (Weights weights : {Weights::kNone, Weights::kPerHead}) {
      for (double dropout : {0.0, 0.5}) {
        MultiHeadAttention attn(kDim, kHeads, {}, core(path, dropout));
        randomise(attn);
        const Variable x(random_tensor({3, 5, kDim}, DType::kFloat32), true);
        const AttentionMask nothing = AttentionMask::padding(Tensor::from<int64_t>({5, 0, 0}, {3}));
        const AttentionResult result = attn(x, nothing, weights);
        const Tensor bias = parameter_of(attn, "out.bias");
        for (int64_t b : {1, 2}) {
          CHECK(same_values(result.output.value().select(0, b), bias.expand({5, kDim})));
          if (weights != Weights::kNone) CHECK(all_zero(result.weights.value().select(0, b)));
        }
        Tensor dy = random_tensor(result.output.shape(), DType::kFloat32, 9);
        dy.select(0, 0).fill_(0);
        result.output.backward(dy);
        CHECK(all_zero(x.grad()));
        for (const auto& [name, parameter] : attn.named_parameters()) {
          INFO(name);
          CHECK(all_zero(parameter.grad()) == (name != "out.bias"));
        }
      }
    }
  }
}

TEST_CASE("contract 1.3, 3.6: NaN in padded keys and values stays there, through the projections too",
          "[attention][contract]") {
  const Tensor lengths = Tensor::from<int64_t>({5, 2, 0}, {3});
  for (const bool zero : {false, true}) {
    for (const int64_t kdim : {kDim, int64_t{4}}) {
      for (AttentionPath path : kPaths) {
        for (Weights weights : {Weights::kNone, Weights::kPerHead}) {
          INFO("zero " << zero << ", kdim " << kdim << ", weights " << (weights != Weights::kNone));
          MultiHeadAttention attn(kDim, kHeads,
                                  {.kdim = kdim, .vdim = kdim, .add_bias_kv = zero, .add_zero_attn = zero}, core(path));
          randomise(attn);
          const Tensor query = random_tensor({3, 4, kDim}, DType::kFloat32, 1);
          Tensor memory = random_tensor({3, 5, kdim}, DType::kFloat32, 2);
          const auto once = [&] {
            const Variable q(query, true), m(memory.clone(), true);
            return results(attn, attn(q, m, AttentionMask::padding(lengths), weights), {q, m});
          };
          const std::vector<Tensor> clean = once();
          memory.select(0, 1).slice(0, 2, 5).fill_(kNan);
          memory.select(0, 2).fill_(std::numeric_limits<double>::infinity());
          const std::vector<Tensor> dirty = once();
          REQUIRE(clean.size() == dirty.size());
          for (size_t i = 0; i < clean.size(); ++i) {
            INFO("result " << i);
            CHECK(same_values(clean[i], dirty[i]));
          }
        }
      }
    }
  }
}

TEST_CASE("contract 3.6: self-attention on NaN padding leaves real tokens and all gradients as they were",
          "[attention][contract]") {
  const Tensor lengths = Tensor::from<int64_t>({5, 2, 1}, {3});
  MultiHeadAttention attn(kDim, kHeads);
  randomise(attn);
  Tensor x = random_tensor({3, 5, kDim}, DType::kFloat32);
  const auto once = [&] {
    const Variable in(x.clone(), true);
    const AttentionResult result = attn(in, AttentionMask::padding(lengths));
    square(masked_mean(result.output, lengths)).backward(Tensor::full({3, kDim}, 1));
    std::vector<Tensor> out{in.grad()};
    for (int64_t b = 0; b < 3; ++b) {
      out.push_back(result.output.value().select(0, b).slice(0, 0, lengths.data<int64_t>()[b]));
    }
    for (const Variable& parameter : attn.parameters()) out.push_back(parameter.grad().clone());
    attn.zero_grad();
    return out;
  };
  const std::vector<Tensor> clean = once();
  x.select(0, 1).slice(0, 2, 5).fill_(kNan);
  x.select(0, 2).slice(0, 1, 5).fill_(kNan);
  const std::vector<Tensor> dirty = once();
  for (size_t i = 0; i < clean.size(); ++i) {
    INFO("result " << i);
    CHECK(same_values(clean[i], dirty[i]));
  }
  CHECK(all_zero(dirty[0].select(0, 2).slice(0, 1, 5)));
}

TEST_CASE("contract 3.19: add_zero_attn with everything padded is finite", "[attention][contract]") {
  for (AttentionPath path : kPaths) {
    MultiHeadAttention attn(kDim, kHeads, {.add_zero_attn = true}, core(path));
    randomise(attn);
    const Variable x(random_tensor({2, 4, kDim}, DType::kFloat32), true);
    const AttentionResult result =
        attn(x, AttentionMask::padding(Tensor::zeros({2}, DType::kInt64)), Weights::kPerHead);
    // All weight lies on the zero, whose value is 0.
    CHECK(same_values(result.output.value(), parameter_of(attn, "out.bias").expand({2, 4, kDim})));
    CHECK(all_zero(result.weights.value().slice(3, 0, 4)));
    CHECK(same_values(result.weights.value().slice(3, 4, 5), Tensor::full({2, kHeads, 4, 1}, 1)));
    sum(square(result.output)).backward();
    CHECK(all_zero(x.grad()));
  }
}

TEST_CASE("contract 3.3, 3.16: causal self-attention with dropout, and padding, through the layer",
          "[attention][contract]") {
  MultiHeadAttention attn(kDim, kHeads, {.dropout = 0.5});
  const Tensor x = random_tensor({2, 6, kDim}, DType::kFloat32);
  const auto once = [&](const Tensor& in) {
    manual_seed(3);
    return attn(Variable(in), AttentionMask::causal()).output.value();
  };
  const Tensor before = once(x);
  for (int64_t t = 0; t < 5; ++t) {
    Tensor changed = x.clone();
    changed.select(1, t + 1).fill_(7);
    CHECK(same_values(before.slice(1, 0, t + 1), once(changed).slice(1, 0, t + 1)));
  }
  attn.eval();
  attn.to(DType::kFloat64);
  const Tensor y = random_tensor({2, 6, kDim});
  const Tensor padded =
      attn(Variable(y), AttentionMask::padding(Tensor::from<int64_t>({6, 4}, {2}))).output.value().select(0, 1);
  const Tensor alone = attn(Variable(y.slice(0, 1, 2).slice(1, 0, 4))).output.value().select(0, 0);
  CHECK(max_difference(padded.slice(0, 0, 4), alone) < 1e-13);
}

TEST_CASE("contract 3.28: multi-head errors name module, argument, what was expected and what came",
          "[attention][contract][errors]") {
  struct Model : Module {
    MultiHeadAttention& attn = child<MultiHeadAttention>("attn", 6, 2);
    MultiHeadAttention& other =
        child<MultiHeadAttention>("other", 6, 2, MultiHeadAttentionOptions{.kdim = 3, .vdim = 4});
  } model;
  const auto zeros = [](const Shape& shape) { return Variable(Tensor::zeros(shape)); };
  const Variable x = zeros({2, 5, 6});
  CHECK(error_text<ShapeError>([&] { model.attn(zeros({2, 6})); }) == "attn: x is [2, 6], expected [B, T, 6]");
  CHECK(error_text<ShapeError>([&] {
          model.attn(zeros({2, 5, 7}), x);
        }) == "attn: query is [2, 5, 7], expected [B, T, 6]");
  CHECK(error_text<ShapeError>([&] {
          model.attn(x, zeros({2, 5, 7}));
        }) == "attn: memory is [2, 5, 7], expected [B, S, 6]");
  CHECK(error_text<ShapeError>([&] {
          model.other(x, zeros({2, 5, 7}), x);
        }) == "other: key is [2, 5, 7], expected [B, S, 3]");
  CHECK(error_text<ShapeError>([&] {
          model.other(x, zeros({2, 5, 3}), x);
        }) == "other: value is [2, 5, 6], expected [B, S, 4]");
  CHECK(error_text<ShapeError>([&] { model.other(x); }) == "other: key is [2, 5, 6], expected [B, S, 3]");
  CHECK_THROWS_AS(model.attn(x, zeros({3, 5, 6})), ShapeError);
  CHECK_THROWS_AS(model.attn(x, x, zeros({2, 4, 6})), ShapeError);
  CHECK(error_text<ValueError>([] { MultiHeadAttention(6, 4); }) ==
        "MultiHeadAttention: dim 6 and 4 heads given, expected heads that divide dim");
  CHECK_THROWS_AS(MultiHeadAttention(6, 0), ValueError);
  CHECK_THROWS_AS(MultiHeadAttention(6, 2, {.dropout = 1}), ValueError);
  CHECK_THROWS_AS(MultiHeadAttention(6, 2, {.dropout = 0.5}, core(AttentionPath::kFused)), ValueError);
}
