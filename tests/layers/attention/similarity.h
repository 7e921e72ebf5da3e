#pragma once

// Attention from similarities, element by element, for cores that are not softmax of scaled products; and what such
// cores are put through.

#include <cmath>
#include <functional>
#include <vector>

#include "autograd/ops/ops.h"
#include "layers/attention/core.h"
#include "tests/layers/attention/contract.h"
#include "tests/support/gradients.h"

namespace attune::testing {

/// exp(score) before what the mask adds.
using Similarity = std::function<double(int64_t b, int64_t h, int64_t t, int64_t s)>;

/// weights_ts = similarity exp(added) / sum, output = weights v. v [B, S, Hkv, Kv], float64.
inline Attended attend_by_similarity(const Extents& e, const Tensor& v, const MaskKind& kind,
                                     const Similarity& similarity) {
  const int64_t width = v.dim(3), group = e.heads / v.dim(2);
  Attended out{Tensor::zeros({e.batch, e.queries, e.heads, width}, DType::kFloat64),
               Tensor::zeros({e.batch, e.heads, e.queries, e.keys}, DType::kFloat64)};
  double* row = out.weights.data<double>();
  for (int64_t b = 0; b < e.batch; ++b) {
    for (int64_t h = 0; h < e.heads; ++h) {
      for (int64_t t = 0; t < e.queries; ++t, row += e.keys) {
        double total = 0;
        for (int64_t s = 0; s < e.keys; ++s) {
          row[s] = kind.allows(e, b, h, t, s) ? similarity(b, h, t, s) * std::exp(kind.adds(e, b, h, t, s)) : 0;
          total += row[s];
        }
        Tensor y = out.output.select(0, b).select(0, t).select(0, h);
        for (int64_t s = 0; s < e.keys && total > 0; ++s) {
          row[s] /= total;
          const Tensor value = v.select(0, b).select(0, s).select(0, h / group);
          for (int64_t i = 0; i < width; ++i) y.data<double>()[i] += row[s] * value.data<double>()[i];
        }
      }
    }
  }
  return out;
}

/// x[b, n, h, :] of x [B, N, H, K], contiguous float64.
inline const double* head_row(const Tensor& x, int64_t b, int64_t n, int64_t h) {
  return x.data<double>() + ((b * x.dim(1) + n) * x.dim(2) + h) * x.dim(3);
}

inline double dot(const double* a, const double* b, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += a[i] * b[i];
  return total;
}

/// Output and all gradients of the operands for a random upstream gradient.
inline std::vector<Tensor> core_results(AttentionCore& core, const Operands& in, const AttentionMask& mask,
                                        bool weights = false) {
  const Variable q(in.q, true), k(in.k, true), v(in.v, true);
  const AttentionResult result = core(q, k, v, mask, weights);
  result.output.backward(random_tensor(result.output.shape(), in.q.dtype(), 9));
  return {result.output.value(), q.grad(), k.grad(), v.grad()};
}

/// NaN in every key and value that no query of any head may attend to changes nothing, bitwise; queries without keys
/// give 0.
inline void check_masked_keys(AttentionCore& core, const Extents& e, const MaskKind& kind) {
  const Operands clean = operands(e);
  const AttentionMask mask = kind.make(e, DType::kFloat64);
  Operands dirty{clean.q, clean.k.clone(), clean.v.clone()};
  std::vector<std::pair<int64_t, int64_t>> unused;
  for (int64_t b = 0; b < e.batch; ++b) {
    for (int64_t s = 0; s < e.keys; ++s) {
      bool used = false;
      for (int64_t h = 0; h < e.heads; ++h) used |= key_is_used(kind, e, b, h, s);
      if (used) continue;
      unused.emplace_back(b, s);
      for (Tensor* x : {&dirty.k, &dirty.v}) x->select(0, b).select(0, s).fill_(kNan);
    }
  }
  for (bool weights : {false, true}) {
    const std::vector<Tensor> a = core_results(core, clean, mask, weights);
    const std::vector<Tensor> b = core_results(core, dirty, mask, weights);
    for (size_t i = 0; i < a.size(); ++i) {
      INFO("weights " << weights << ", result " << i);
      CHECK(same_values(a[i], b[i]));
    }
    int wrong = 0;
    for (const auto& [sample, key] : unused) {
      for (size_t i : {2, 3}) wrong += !all_zero(b[i].select(0, sample).select(0, key));
    }
    for (int64_t s = 0; s < e.batch; ++s) {
      for (int64_t h = 0; h < e.heads; ++h) {
        for (int64_t t = 0; t < e.queries; ++t) {
          if (query_has_key(kind, e, s, h, t)) continue;
          for (size_t i : {0, 1}) wrong += !all_zero(b[i].select(0, s).select(0, t).select(0, h));
        }
      }
    }
    CHECK(wrong == 0);
  }
}

/// Gradients of operands and parameters, of output and weights.
inline void check_core_gradients(AttentionCore& core, const MaskKind& kind, bool weights = false) {
  const Extents e{2, 2, 3, 4};
  const Operands in = operands(e);
  const AttentionMask mask = kind.make(e, DType::kFloat64);
  INFO(kind.name << ", weights " << weights);
  check_gradients(core, {in.q, in.k, in.v}, [&](std::span<const Variable> x) {
    const AttentionResult result = core(x[0], x[1], x[2], mask, weights);
    const Variable y = reshape(result.output, {-1});
    return weights ? concat({y, reshape(result.weights, {-1})}, 0) : y;
  });
}

}  // namespace attune::testing
