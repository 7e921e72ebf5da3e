#include "layers/attention/linear_attention.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "framework/fail.h"
#include "framework/math/compare.h"
#include "layers/attention/heads.h"

namespace attune {
namespace {

/// Queries that are computed together under a causal mask.
constexpr int64_t kBlock = 64;

/// numerator / denominator, and 0 where the denominator is: queries without keys.
Variable divided(const Variable& numerator, const Variable& denominator) {
  const Tensor& d = denominator.value();
  const Tensor positive = ~(d < std::numeric_limits<float>::min());  // NaN stays
  return div(numerator, where(positive, denominator, Variable(Tensor::full({1}, 1, d.dtype(), d.device()))));
}

Variable zero_like(const Variable& x) { return Variable(Tensor::zeros({1}, x.dtype(), x.device())); }

bool is_linear(const LoweredMask& mask, int64_t queries) {
  const MaskSpec& spec = mask.spec;
  return queries > 0 && is_by_key(spec, queries) && spec.window_left < 0 && spec.window_right < 0 &&
         !mask.bias.defined();
}

/// Sums of the keys up to the query, q . sum(k v^T), for features q [..., T, F] and k [..., S, F] and values
/// v [..., S, N]: query t sees keys 0 ... t + offset. Blocks of queries see the sum over the keys that all of them may
/// attend to, and the rest key by key.
Variable prefix_sums(const Variable& q, const Variable& k, const Variable& v, int64_t offset) {
  const int64_t queries = q.dim(-2);
  const int64_t keys = k.dim(-2);
  const auto up_to = [&](int64_t t) { return std::clamp<int64_t>(t + offset + 1, 0, keys); };
  Variable state;  // [..., F, N]
  int64_t summed = 0;
  std::vector<Variable> parts;
  for (int64_t t0 = 0; t0 < queries; t0 += kBlock) {
    const int64_t t1 = std::min(t0 + kBlock, queries);
    const int64_t common = up_to(t0);
    const int64_t end = up_to(t1 - 1);
    if (common > summed) {
      const Variable more = matmul(slice(k, -2, summed, common), slice(v, -2, summed, common), true);
      state = state.defined() ? add(state, more) : more;
      summed = common;
    }
    const Variable block = slice(q, -2, t0, t1);
    // With keys that only some of the block see, or none at all, so that the sums have a shape.
    MaskSpec bound;
    bound.causal = true;
    bound.causal_offset = t0 + offset - common;
    const Tensor seen = allowed_keys(bound, 1, 1, t1 - t0, end - common).view({t1 - t0, end - common});
    const Variable similar = matmul(block, slice(k, -2, common, end), false, true);
    Variable y = matmul(where(seen, similar, zero_like(q)), slice(v, -2, common, end), false, false, true);
    if (state.defined()) y = add(y, matmul(block, state));
    parts.push_back(y);
  }
  return parts.size() == 1 ? parts.front() : concat(parts, -2);
}

}  // namespace

AttentionResult FeatureAttention::attend(const Variable& q, const Variable& k, const Variable& v,
                                         const LoweredMask& mask, bool want_weights) {
  return attend_by_features(q, key_features(k), v, mask, want_weights);
}

Variable FeatureAttention::prepare_keys(const Variable& k) const { return key_features(k); }

AttentionResult FeatureAttention::attend_next(const Variable& q, const AttentionMemory& memory, AttentionState&,
                                              const LoweredMask& mask, bool want_weights) {
  return attend_by_features(q, memory.prepared, memory.v, mask, want_weights);
}

AttentionResult FeatureAttention::attend_by_features(const Variable& q, const Variable& k_features, const Variable& v,
                                                     const LoweredMask& mask, bool want_weights) const {
  const int64_t key_heads = v.dim(2);
  const Variable q_features = query_features(q);
  if (key_heads == 0 || q.dim(2) % key_heads != 0 || q_features.dim(3) != k_features.dim(3)) [[unlikely]] {
    fail<ShapeError>("{}: q is {}, its features {}, those of k {}; expected as many, and heads of q a multiple of k's",
                     who("attention"), q.shape(), q_features.shape(), k_features.shape());
  }
  const Shape full{q.dim(0), q.dim(2), q.dim(1), v.dim(1)};  // [B, H, T, S]
  const Shape by_group{full[0], key_heads, full[1] / key_heads, full[2], full[3]};
  const Variable phi_q = grouped(q_features, key_heads);  // [B, Hkv, G, T, F]
  Variable phi_k = grouped(k_features, key_heads);        // [B, Hkv, 1, S, F]
  Variable values = grouped(v, key_heads);                // [B, Hkv, 1, S, Kv]
  const MaskSpec& spec = mask.spec;
  AttentionResult result;

  if (!want_weights && is_linear(mask, full[2])) {
    const Tensor chosen = chosen_keys(spec, full[0], key_heads, by_group[2], full[3]);
    if (chosen.defined()) {
      phi_k = where(chosen, phi_k, zero_like(q));
      values = where(chosen, values, zero_like(q));
    }
    // A column of ones beside the values gives the denominator in the same product.
    Shape ones = values.shape();
    ones[4] = 1;
    const Variable more = concat({values, Variable(Tensor::full(ones, 1, v.dtype(), v.device()))}, -1);
    const Variable sums = spec.causal ? prefix_sums(phi_q, phi_k, more, spec.causal_offset)
                                      : matmul(phi_q, matmul(phi_k, more, true));  // [B, Hkv, G, T, Kv + 1]
    const int64_t width = v.dim(3);
    result.output = ungrouped(divided(slice(sums, -1, 0, width), slice(sums, -1, width, width + 1)));
    return result;
  }

  const Variable bias = parameter_for(q, mask.bias);
  const Tensor allowed = allowed_keys(spec, bias.value(), full, q.device());
  Variable similar = where(allowed, reshape(matmul(phi_q, phi_k, false, true), full), zero_like(q));
  // exp(bias), scaled row by row so that it does not overflow.
  if (bias.defined()) similar = mul(similar, masked_softmax(expand(bias, full), allowed));
  // Chosen once more, so that NaN in values that are not attended to stays out of the denominator's gradient.
  const Variable weights = where(allowed, divided(similar, sum(similar, {3}, true)), zero_like(q));
  result.output = ungrouped(matmul(reshape(weights, by_group), values, false, false, true));
  if (want_weights) result.weights = weights;
  return result;
}

Variable LinearAttention::query_features(const Variable& q) const { return elu(q) + 1.0; }

Variable LinearAttention::key_features(const Variable& k) const { return elu(k) + 1.0; }

}  // namespace attune
