// Grouped-query and multi-query attention as an option of MultiHeadAttention.

#include <catch2/catch_test_macros.hpp>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/attention/multi_head.h"
#include "tests/support/attention.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr int64_t kDim = 8, kHeads = 4, kSize = kDim / kHeads;

/// Rows of the whole that stand for rows of grouped keys or values: each key head's repeated for its query heads.
Tensor repeat_heads(const Tensor& rows, int64_t key_heads) {
  Shape by_head = rows.shape();
  by_head[0] = key_heads;
  by_head.insert(1, 1);
  by_head.insert(2, kSize);
  Shape wide = by_head;
  wide[1] = kHeads / key_heads;
  Shape out = rows.shape();
  out[0] = kDim;
  return rows.contiguous().view(by_head).expand(wide).reshape(out);
}

/// The sum over the query heads of a key head.
Tensor sum_groups(const Tensor& rows, int64_t key_heads) {
  Shape split = rows.shape();
  split[0] = key_heads;
  split.insert(1, kHeads / key_heads);
  split.insert(2, kSize);
  Shape out = rows.shape();
  out[0] = key_heads * kSize;
  return reshape(sum(Variable(rows.contiguous().view(split)), {1}), out).value();
}

}  // namespace

TEST_CASE("contract 3.13: grouped attention is multi-head with repeated keys, gradients summed over groups",
          "[attention][grouped][contract]") {
  for (int64_t key_heads : {1, 2, 4}) {
    for (bool separate : {false, true}) {
      const int64_t width = key_heads * kSize;
      const int64_t kdim = separate ? 5 : kDim;
      MultiHeadAttention grouped(kDim, kHeads,
                                 {.kdim = kdim, .vdim = kdim, .add_bias_kv = true, .key_heads = key_heads});
      MultiHeadAttention repeated(kDim, kHeads, {.kdim = kdim, .vdim = kdim, .add_bias_kv = true});
      randomise(grouped);
      grouped.to(DType::kFloat64);
      repeated.to(DType::kFloat64);
      CHECK(grouped.key_heads() == key_heads);
      // Which rows of a parameter are keys' or values'.
      const auto translate = [&](const std::string& name, const Tensor& x, auto&& f) {
        if (name.starts_with("qkv.")) {
          const int64_t n = (x.dim(0) - kDim) / 2;
          const Variable parts[] = {Variable(x.slice(0, 0, kDim)), Variable(f(x.slice(0, kDim, kDim + n))),
                                    Variable(f(x.slice(0, kDim + n, kDim + 2 * n)))};
          return concat(parts, 0).value();
        }
        const bool keys = name.starts_with("k.") || name.starts_with("v.") || name.starts_with("bias_");
        return keys ? f(x) : x;
      };
      StateDict state;
      for (const auto& [name, tensor] : grouped.state_dict()) {
        state.emplace_back(name, translate(name, tensor, [&](const Tensor& x) { return repeat_heads(x, key_heads); }));
      }
      repeated.load_state_dict(state);
      CHECK(grouped.state_dict()[0].second.dim(0) == width);  // bias_k

      const Extents e{3, kHeads, 4, 5};
      for (const MaskKind& kind : mask_kinds()) {
        INFO(kind.name << ", key heads " << key_heads << ", separate " << separate);
        const AttentionMask mask = kind.make(e, DType::kFloat64);
        const Variable query(random_tensor({3, 4, kDim}, DType::kFloat64, 1), true);
        const Variable memory(random_tensor({3, 5, kdim}, DType::kFloat64, 2), true);
        // Without weights the heads take the fused path, with them and gradients the composed one.
        for (Weights weights : {Weights::kNone, Weights::kPerHead}) {
          const auto run = [&](MultiHeadAttention& attn) {
            const AttentionResult result = attn(query, memory, mask, weights);
            result.output.backward(random_tensor(result.output.shape(), DType::kFloat64, 9));
            std::vector<Tensor> out{result.output.value(), query.grad().clone(), memory.grad().clone()};
            if (weights != Weights::kNone) out.push_back(result.weights.value());
            Variable(query).zero_grad();
            Variable(memory).zero_grad();
            return out;
          };
          const std::vector<Tensor> a = run(grouped);
          const std::vector<Tensor> b = run(repeated);
          for (size_t i = 0; i < a.size(); ++i) CHECK(max_difference(a[i], b[i]) < 1e-12);
          const auto& own = grouped.named_parameters();
          const auto& whole = repeated.named_parameters();
          for (size_t i = 0; i < own.size(); ++i) {
            INFO(own[i].first);
            const Tensor expected = translate(own[i].first, whole[i].second.grad(),
                                              [&](const Tensor& x) { return sum_groups(x, key_heads); });
            CHECK(max_difference(own[i].second.grad(), expected) < 1e-12);
          }
          grouped.zero_grad();
          repeated.zero_grad();
        }
      }
    }
  }
}

TEST_CASE("grouped self-, cross- and three-argument attention agree", "[attention][grouped]") {
  for (int64_t key_heads : {1, 2}) {
    MultiHeadAttention attn(kDim, kHeads, {.key_heads = key_heads});
    randomise(attn);
    attn.to(DType::kFloat64);
    const Variable x(random_tensor({3, 5, kDim}));
    for (const char* name : {"none", "causal & padding", "all of them"}) {
      for (const MaskKind& kind : mask_kinds()) {
        if (kind.name != name) continue;
        const AttentionMask mask = kind.make({3, kHeads, 5, 5}, DType::kFloat64);
        const Tensor y = attn(x, mask).output.value();
        CHECK(max_difference(y, attn(x, x, mask).output.value()) < 1e-13);
        CHECK(max_difference(y, attn(x, x, x, mask).output.value()) < 1e-13);
      }
    }
    check_gradients(attn, {random_tensor({2, 3, kDim})},
                    [&](auto in) { return attn(in[0], AttentionMask::causal()).output; });
  }
  Tape::current().clear();
  CHECK(error_text<ValueError>([] { MultiHeadAttention(kDim, kHeads, {.key_heads = 3}); }) ==
        "MultiHeadAttention: 4 heads and 3 key heads given, expected key heads that divide the heads");
}
