// A bias of -infinity is a mask: the same, to the bit, as AttentionMask::keep of the other keys (contract 1.2).

#include <catch2/catch_test_macros.hpp>

#include <limits>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "layers/attention/multi_head.h"
#include "layers/attention/registry.h"
#include "layers/attention/scaled_dot_product.h"
#include "tests/support/devices.h"
#include "tests/support/gradients.h"

namespace attune::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kBatch = 2, kQueries = 4, kKeys = 5, kHeads = 2, kSize = 4;
constexpr DType kFloatDTypes[] = {DType::kFloat32, DType::kFloat64, DType::kBFloat16};

/// Query 1 has no key, key 3 no query; the others have some.
bool allows(int64_t t, int64_t s) { return t != 1 && s != 3 && (t + 2 * s) % 3 != 1; }

Tensor allowed_tensor() {
  Tensor allowed = Tensor::empty({kQueries, kKeys}, DType::kBool);
  for (int64_t i = 0; i < allowed.numel(); ++i) allowed.data<bool>()[i] = allows(i / kKeys, i % kKeys);
  return allowed;
}

/// `added` where allowed, -infinity elsewhere.
Tensor forbidding(double added, DType dtype) {
  Tensor bias = Tensor::full({kQueries, kKeys}, added, DType::kFloat64);
  for (int64_t i = 0; i < bias.numel(); ++i) {
    if (!allows(i / kKeys, i % kKeys)) bias.data<double>()[i] = -kInfinity;
  }
  return bias.to(dtype);
}

struct Operands {
  Tensor q, k, v;
};

Operands operands(DType dtype) {
  return {random_tensor({kBatch, kQueries, kHeads, kSize}, dtype, 1),
          random_tensor({kBatch, kKeys, kHeads, kSize}, dtype, 2),
          random_tensor({kBatch, kKeys, kHeads, kSize}, dtype, 3)};
}

/// NaN where nobody may look.
Operands poisoned(const Operands& in) {
  Operands out{in.q, in.k.clone(), in.v.clone()};
  out.k.select(1, 3).fill_(kNan);
  out.v.select(1, 3).fill_(kNan);
  return out;
}

std::vector<Tensor> run(AttentionCore& core, const Operands& in, const AttentionMask& mask, bool weights,
                        bool in_steps = false) {
  manual_seed(5);
  const Variable q(in.q, true), k(in.k, true), v(in.v, true);
  AttentionResult result;
  if (in_steps) {
    const AttentionMemory memory = core.prepare(k, v, mask, kQueries);
    AttentionState state;
    std::vector<Variable> outputs, parts;
    for (int64_t t = 0; t < kQueries; ++t) {
      const AttentionResult next = core.step(slice(q, 1, t, t + 1), memory, state, weights);
      outputs.push_back(next.output);
      if (weights) parts.push_back(next.weights);
    }
    result = {concat(outputs, 1), weights ? concat(parts, 2) : Variable()};
  } else {
    result = core(q, k, v, mask, weights);
  }
  std::vector<Tensor> out{result.output.value()};
  if (weights) out.push_back(result.weights.value());
  if (!grad_enabled()) return out;
  Variable total = sum(cast(result.output, DType::kFloat32));
  if (weights) total = total + sum(square(cast(result.weights, DType::kFloat32)));
  total.backward();
  for (const Variable& x : {q, k, v}) out.push_back(x.grad().defined() ? x.grad() : Tensor::zeros_like(x.value()));
  for (const Variable& parameter : core.parameters()) {
    out.push_back(parameter.grad().defined() ? parameter.grad().clone() : Tensor());
  }
  core.zero_grad();
  return out;
}

void check_same(const std::vector<Tensor>& found, const std::vector<Tensor>& expected) {
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    INFO("result " << i);
    REQUIRE(found[i].defined() == expected[i].defined());
    if (found[i].defined()) CHECK(same_values(found[i], expected[i]));
  }
}

std::vector<std::unique_ptr<AttentionCore>> paths() {
  std::vector<std::unique_ptr<AttentionCore>> out;
  for (const AttentionPath path : {AttentionPath::kFused, AttentionPath::kComposed}) {
    out.push_back(std::make_unique<ScaledDotProduct>(ScaledDotProductOptions{.path = path}));
    out.push_back(std::make_unique<ScaledDotProduct>(ScaledDotProductOptions{.softcap = 3, .path = path}));
  }
  return out;
}

template <class F>
void for_each_attention(F&& f) {
  for (const RegisteredAttention& row : registered_attentions()) {
    if (row.traits.same_mask) continue;  // takes no bias
    AttentionConfig config = attention_config(row.name);
    config.sizes = {.query = kSize, .key = kSize, .heads = kHeads, .hidden = 3};
    config.window = 2;
    config.max_keys = kKeys;
    const auto core = make_attention(config);
    randomise(*core);
    INFO(row.name);
    f(*core);
  }
  for (const auto& core : paths()) f(*core);
}

TEST_CASE("contract 1.2: a bias of -infinity is a mask for every attention by name", "[attention][contract]") {
  const AttentionMask keep = AttentionMask::keep(allowed_tensor());
  for_each_attention([&](AttentionCore& core) {
    for (const DType dtype : kFloatDTypes) {
      const bool narrow = dtype == DType::kBFloat16;
      core.to(narrow ? DType::kFloat32 : dtype);
      const Operands in = operands(dtype);
      // A bias may be float32 beside bfloat16.
      const AttentionMask bias = AttentionMask::bias(Variable(forbidding(0, narrow ? DType::kFloat32 : dtype), true));
      for (const bool training : {false, true}) {
        for (const bool weights : {false, true}) {
          for (const bool in_steps : {false, true}) {
            INFO(dtype_name(dtype) << (training ? ", training" : "") << (weights ? ", weights" : "")
                                   << (in_steps ? ", in steps" : ""));
            core.train(training);
            // 0 is added to what is allowed, by itself and by the mask: the same sums.
            const AttentionMask zero = AttentionMask::bias(Variable(Tensor::zeros({1, 1}, dtype)));
            const std::vector<Tensor> expected = run(core, in, keep & zero, weights, in_steps);
            CHECK(all_zero(expected[0].select(1, 1)));
            check_same(run(core, in, bias, weights, in_steps), expected);
            check_same(run(core, poisoned(in), bias, weights, in_steps), expected);
            check_same(run(core, in, bias & AttentionMask::keep(allowed_tensor()), weights, in_steps), expected);
            const NoGrad values_only;
            const std::vector<Tensor> plain = run(core, in, bias, weights, in_steps);
            check_same(plain, run(core, in, keep & zero, weights, in_steps));
            CHECK(all_zero(plain[0].select(1, 1)));
          }
        }
      }
    }
  });
}

TEST_CASE("contract 1.2: the gradient of a bias of -infinity is 0", "[attention][contract]") {
  for_each_attention([&](AttentionCore& core) {
    for (const bool weights : {false, true}) {
      for (const double added : {0.0, 0.7}) {
        core.to(DType::kFloat64);
        const Operands in = poisoned(operands(DType::kFloat64));
        const Variable bias(forbidding(added, DType::kFloat64), true);
        const AttentionResult result =
            core(Variable(in.q, true), Variable(in.k), Variable(in.v), AttentionMask::bias(bias), weights);
        sum(square(result.output)).backward();
        if (!bias.grad().defined()) continue;  // hard choices have none
        const std::vector<double> gradient = values(bias.grad());
        for (int64_t i = 0; i < bias.numel(); ++i) {
          const double found = gradient[static_cast<size_t>(i)];
          INFO(i << ": " << found);
          CHECK((allows(i / kKeys, i % kKeys) ? std::isfinite(found) : found == 0));
        }
      }
    }
  });
}

TEST_CASE("contract 1.2: -infinity forbids whatever another bias adds to it", "[attention][contract]") {
  const Tensor forbids = forbidding(0, DType::kFloat64);
  for (const double other : {kNan, kInfinity, -kInfinity, 1.0}) {
    INFO(other);
    Tensor added = Tensor::zeros({kQueries, kKeys}, DType::kFloat64);
    for (int64_t i = 0; i < added.numel(); ++i) {
      if (!allows(i / kKeys, i % kKeys)) added.data<double>()[i] = other;
    }
    for (const auto& core : paths()) {
      for (const bool weights : {false, true}) {
        const Operands in = operands(DType::kFloat64);
        const auto by = [](const Tensor& x) { return AttentionMask::bias(Variable(x)); };
        const std::vector<Tensor> expected = run(*core, in, by(forbids), weights);
        check_same(run(*core, in, by(forbids) & by(added), weights), expected);
        check_same(run(*core, in, by(added) & by(forbids), weights), expected);
      }
    }
  }
}

TEST_CASE("contract 1.2: -infinity of a bias in self-attention spoils no projection", "[attention][contract]") {
  for (const Weights weights : {Weights::kNone, Weights::kPerHead, Weights::kAveraged}) {
    MultiHeadAttention attn(8, 2);
    randomise(attn);
    const auto gradients = [&](const AttentionMask& mask) {
      const Variable x(random_tensor({2, 4, 8}, DType::kFloat32, 3), true);
      sum(square(attn(x, mask, weights).output)).backward();
      std::vector<Tensor> out{x.grad().clone()};
      for (const Variable& parameter : attn.parameters()) out.push_back(parameter.grad().clone());
      attn.zero_grad();
      return out;
    };
    const Tensor keep = allowed_tensor().slice(1, 0, 4);
    const Tensor bias = forbidding(0, DType::kFloat32).slice(1, 0, 4);
    check_same(gradients(AttentionMask::bias(Variable(bias))),
               gradients(AttentionMask::keep(keep) & AttentionMask::bias(Variable(Tensor::zeros({1, 1})))));
  }
}

// Few and many keys: by the weights that are kept, by the scores again, by blocks.
TEST_CASE("NaN and infinity of keys that count keep their meaning on every path", "[attention][contract]") {
  for (const int64_t keys : {3, 40, 300, 1100}) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      for (const auto& core : paths()) {
        for (const bool weights : {false, true}) {
          INFO(keys << " keys, " << dtype_name(dtype));
          const NoGrad values_only;
          Tensor q = random_tensor({1, 2, 1, 4}, dtype, 1);
          q.select(1, 1).fill_(kNan);
          const Variable k(random_tensor({1, keys, 1, 4}, dtype, 2));
          Tensor added = Tensor::zeros({1, keys}, dtype);
          added.slice(1, keys - 1, keys).fill_(-kInfinity);
          for (const AttentionMask& mask : {AttentionMask(), AttentionMask::bias(Variable(added))}) {
            const std::vector<double> y = values((*core)(Variable(q), k, k, mask, weights).output.value());
            for (size_t i = 0; i < 8; ++i) {
              INFO(i << ": " << y[i]);
              CHECK((i < 4 ? std::isfinite(y[i]) : std::isnan(y[i])));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("contract 1.2: a bias of -infinity is a mask on a CUDA device", "[attention][contract][cuda]") {
  const Device cuda = cuda_or_skip();
  for (const DType dtype : kFloatDTypes) {
    for (const int64_t size : {kSize, int64_t{160}}) {  // by tiles and by rows
      for (const auto& core : paths()) {
        for (const bool weights : {false, true}) {
          INFO(dtype_name(dtype) << ", " << size << (weights ? ", weights" : ""));
          Operands in{random_tensor({kBatch, kQueries, kHeads, size}, dtype, 1).to(cuda),
                      random_tensor({kBatch, kKeys, kHeads, size}, dtype, 2).to(cuda),
                      random_tensor({kBatch, kKeys, kHeads, size}, dtype, 3).to(cuda)};
          const auto by = [&](const Tensor& x) { return AttentionMask::bias(Variable(x.to(cuda))); };
          const AttentionMask keep = AttentionMask::keep(allowed_tensor()) & by(Tensor::zeros({1, 1}, dtype));
          const std::vector<Tensor> expected = run(*core, in, keep, weights);
          CHECK(all_zero(expected[0].select(1, 1).to(Device::cpu())));
          for (const Operands& operands : {in, poisoned(in)}) {
            const std::vector<Tensor> found = run(*core, operands, by(forbidding(0, dtype)), weights);
            REQUIRE(found.size() == expected.size());
            for (size_t i = 0; i < found.size(); ++i) {
              INFO("result " << i);
              CHECK(same_values(found[i].to(Device::cpu()), expected[i].to(Device::cpu())));
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace attune::testing
