// A tensor of a mask, or a bias, changed in place between forward and backward (contract 1.8).

#include <catch2/catch_test_macros.hpp>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "framework/kernels/mask.h"
#include "layers/attention/multi_head.h"
#include "tests/support/attention_variants.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

namespace attune::testing {
namespace {

constexpr int64_t kBatch = 2, kHeads = 2;

struct Part {
  const char* name;
  std::string noticed;  // how the fused kernel's message begins
  std::function<Tensor(int64_t queries, int64_t keys)> tensor;
  std::function<AttentionMask(const Tensor&)> mask;
  std::function<void(Tensor)> change;
};

void negate(const Tensor& x) {
  Tensor other = Tensor::empty(x.shape(), DType::kBool);
  kernels::logical_not(x, other);
  Tensor(x).copy_(other);
}

Tensor every_third(const Shape& shape) {
  Tensor out = Tensor::full(shape, 1, DType::kBool);
  for (int64_t i = 0; i < out.numel(); i += 3) out.data<bool>()[i] = false;
  return out;
}

std::vector<Part> parts() {
  std::vector<Part> out;
  out.push_back({"keep", "attention: mask keep (bool",
                 [](int64_t, int64_t keys) {
                   return every_third({kBatch, 1, 1, keys});
                 },
                 [](const Tensor& x) { return AttentionMask::keep(x); }, negate});
  out.push_back({"drop", "",
                 [](int64_t queries, int64_t keys) {
                   return every_third({queries, keys});
                 },
                 [](const Tensor& x) { return AttentionMask::drop(x); }, negate});
  out.push_back(
      {"padding", "attention: mask lengths (int64 [2]",
       [](int64_t, int64_t keys) { return Tensor::full({kBatch}, static_cast<double>(keys - 1), DType::kInt64); },
       [](const Tensor& x) { return AttentionMask::padding(x); }, [](Tensor x) { x.fill_(1); }});
  out.push_back({"blocks", "attention: mask blocks (bool",
                 [](int64_t queries, int64_t keys) {
                   return every_third({(queries + 1) / 2, (keys + 1) / 2});
                 },
                 [](const Tensor& x) { return AttentionMask::blocks(x, 2); }, negate});
  out.push_back({"bias", "attention: bias (float32",
                 [](int64_t queries, int64_t keys) {
                   return random_tensor({queries, keys}, DType::kFloat32, 4);
                 },
                 [](const Tensor& x) { return AttentionMask::bias(Variable(x)); }, [](Tensor x) { x.fill_(-3); }});
  return out;
}

struct Gradients {
  std::vector<Tensor> all;
  std::string error;
};

/// One step, the mask's tensor changed before backward().
Gradients run(AttentionCore& core, const AttentionVariant& variant, const Part& part, int64_t queries, int64_t keys,
              bool weights, bool changes) {
  manual_seed(3);
  const Tensor tensor = part.tensor(queries, keys);
  const Variable q(random_tensor({kBatch, queries, kHeads, variant.query}, DType::kFloat32, 1), true);
  const Variable k(random_tensor({kBatch, keys, kHeads, variant.key}, DType::kFloat32, 2), true);
  const Variable v(random_tensor({kBatch, keys, kHeads, variant.value}, DType::kFloat32, 3), true);
  const Variable total = sum(square(core(q, k, v, part.mask(tensor), weights).output));
  if (changes) part.change(tensor);
  Gradients out;
  try {
    total.backward();
  } catch (const ValueError& error) {
    out.error = error.what();
  }
  Tape::current().clear();
  for (const Variable& x : {q, k, v}) out.all.push_back(x.grad().defined() ? x.grad() : Tensor::zeros_like(x.value()));
  core.zero_grad();
  return out;
}

TEST_CASE("every variant, contract 1.8: a mask changed between forward and backward never changes a gradient",
          "[attention][contract]") {
  for (const AttentionVariant& variant : attention_variants()) {
    const auto core = variant.make(kHeads);
    randomise(*core);
    for (const Part& part : parts()) {
      // Weights of few keys are kept, those of many computed again.
      for (const auto& [queries, keys] : {std::pair<int64_t, int64_t>{5, 7}, {3, 200}}) {
        for (const bool weights : {false, true}) {
          INFO(variant.name << ", " << part.name << ", " << keys << " keys" << (weights ? ", weights" : ""));
          const Gradients expected = run(*core, variant, part, queries, keys, weights, false);
          const Gradients found = run(*core, variant, part, queries, keys, weights, true);
          CHECK(expected.error == "");
          if (!found.error.empty()) {
            INFO(found.error);
            CHECK(found.error.find("changed in place") != std::string::npos);
            continue;
          }
          for (size_t i = 0; i < found.all.size(); ++i) CHECK(same_values(found.all[i], expected.all[i]));
        }
      }
    }
  }
}

TEST_CASE("contract 1.8: the fused kernel names the part of the mask that was changed", "[attention][contract]") {
  const AttentionVariant& fused = attention_variants().front();
  const auto core = fused.make(kHeads);
  for (const Part& part : parts()) {
    for (const auto& [queries, keys] : {std::pair<int64_t, int64_t>{5, 7}, {3, 200}}) {
      const std::string error = run(*core, fused, part, queries, keys, false, true).error;
      INFO(part.name << ": " << error);
      CHECK(error.starts_with(part.noticed));
      CHECK(error.empty() == part.noticed.empty());  // drop() makes its own tensor
      if (!error.empty()) CHECK(error.find("changed in place after it was used") != std::string::npos);
    }
  }
}

TEST_CASE("contract 1.8: a mask changed between two forward passes is an error of the first one's backward",
          "[attention][contract]") {
  MultiHeadAttention attn(8, 2);
  const Variable nodes(random_tensor({2, 200, 8}, DType::kFloat32, 2), true);
  Tensor open = Tensor::full({2, 1, 1, 200}, 1, DType::kBool);
  const auto visit = [&](const AttentionMask& mask, int64_t t) {
    return sum(square(attn(slice(nodes, 1, t, t + 1), nodes, mask).output));
  };
  const Variable first = visit(AttentionMask::keep(open), 0);
  open.slice(3, 0, 30).fill_(0);
  const Variable both = first + visit(AttentionMask::keep(open), 1);
  const std::string error = error_text<ValueError>([&] { both.backward(); });
  CHECK(error.starts_with("attention_packed_kv: mask keep (bool [2, 2, 1, 200]"));
  // With a clone for each pass it is right, and changes after backward() harm nobody.
  const Variable again = visit(AttentionMask::keep(open.clone()), 0);
  open.fill_(1);
  (again + visit(AttentionMask::keep(open), 1)).backward();
  open.fill_(0);
}

}  // namespace
}  // namespace attune::testing
