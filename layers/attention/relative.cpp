#include "layers/attention/relative.h"

#include <algorithm>
#include <cmath>

#include "framework/fail.h"
#include "layers/attention/heads.h"
#include "layers/init.h"

namespace attune {
namespace {

/// int64 [T, S]: rows of the parameters, when query 0 stands at key `first`.
Tensor distances(int64_t queries, int64_t keys, int64_t first, int64_t farthest) {
  Tensor ids = Tensor::empty({queries, keys}, DType::kInt64);
  int64_t* id = ids.data<int64_t>();
  for (int64_t t = 0; t < queries; ++t) {
    const int64_t p = t + first;
    for (int64_t s = 0; s < keys; ++s) *id++ = std::clamp(s - p, -farthest, farthest) + farthest;
  }
  return ids;
}

/// x [B, H, T, N] by [T, ., .], the same for all samples and heads: [B, H, T, N'].
Variable by_query(const Variable& x, const Variable& table, bool transpose_table) {
  const Variable rows = reshape(permute(x, {2, 0, 1, 3}), {x.dim(2), x.dim(0) * x.dim(1), x.dim(3)});
  const Variable y = matmul(rows, parameter_for(x, table), false, transpose_table);
  return permute(reshape(y, {x.dim(2), x.dim(0), x.dim(1), y.dim(2)}), {1, 2, 0, 3});
}

}  // namespace

RelativeAttention::RelativeAttention(int64_t head_size, RelativeAttentionOptions options) : options_(options) {
  const int64_t value_size = options.value_size == 0 ? head_size : options.value_size;
  require<ValueError>(head_size > 0 && value_size > 0 && options.max_distance > 0,
                      "RelativeAttention: head size {}, value size {} and max_distance {} given, expected at least 1 "
                      "each",
                      head_size, value_size, options.max_distance);
  require<ValueError>(options.dropout >= 0 && options.dropout < 1,
                      "RelativeAttention: dropout {} given, expected 0 <= p < 1", options.dropout);
  const int64_t rows = 2 * options.max_distance + 1;
  key_ = parameter("key", init::xavier_uniform({rows, head_size}));
  if (options.values) value_ = parameter("value", init::xavier_uniform({rows, value_size}));
}

AttentionResult RelativeAttention::attend(const Variable& q, const Variable& k, const Variable& v,
                                          const LoweredMask& mask, bool want_weights) {
  const int64_t first = options_.align == Align::kFirst ? 0 : k.dim(1) - q.dim(1);
  return attend_from(first, q, k, v, mask, want_weights);
}

AttentionResult RelativeAttention::attend_next(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                                               const LoweredMask& mask, bool want_weights) {
  const int64_t first = options_.align == Align::kFirst ? 0 : memory.k.dim(1) - memory.queries;
  return attend_from(state.position + first, q, memory.k, memory.v, mask, want_weights);
}

AttentionResult RelativeAttention::attend_from(int64_t first, const Variable& q, const Variable& k, const Variable& v,
                                               const LoweredMask& mask, bool want_weights) {
  if (q.dim(3) != key_.dim(1) || (value_.defined() && v.dim(3) != value_.dim(1))) [[unlikely]] {
    fail<ShapeError>("{}: q is {} and v {}, expected heads of size {} and {}", who("RelativeAttention"), q.shape(),
                     v.shape(), key_.dim(1), value_.defined() ? value_.dim(1) : v.dim(3));
  }
  const int64_t key_heads = k.dim(2);
  const Shape full{q.dim(0), q.dim(2), q.dim(1), k.dim(1)};  // [B, H, T, S]
  const Shape by_group{full[0], key_heads, full[1] / key_heads, full[2], full[3]};
  const Tensor ids = distances(full[2], full[3], first, options_.max_distance);
  const Variable products = reshape(matmul(grouped(q, key_heads), grouped(k, key_heads), false, true), full);
  const Variable relative = by_query(permute(q, {0, 2, 1, 3}), embedding(key_, ids), true);
  const Variable scores = add(products, relative) * (1 / std::sqrt(static_cast<double>(q.dim(3))));
  const Variable weights = masked(scores, mask).weights();
  const Variable dropped = training() && options_.dropout > 0 ? dropout(weights, options_.dropout) : weights;
  AttentionResult result;
  result.output = ungrouped(matmul(reshape(dropped, by_group), grouped(v, key_heads), false, false, true));
  if (value_.defined()) {
    const Variable values = by_query(dropped, embedding(value_, ids), false);  // [B, H, T, Kv]
    result.output = add(result.output, permute(values, {0, 2, 1, 3}));
  }
  if (want_weights) result.weights = weights;
  return result;
}

}  // namespace attune
