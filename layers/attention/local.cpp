#include "layers/attention/local.h"

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "framework/math/compare.h"
#include "layers/attention/heads.h"

namespace attune {
namespace {

/// 0, 1, ... n - 1
Tensor positions(int64_t n, DType dtype, Device device) {
  std::vector<double> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
  return Tensor::from(values, {n}).to(dtype).to(device);
}

}  // namespace

LocalAttention::LocalAttention(std::unique_ptr<Score> score, LocalAttentionOptions options)
    : AlignmentCore(options.dropout), options_(options), score_(own("score", std::move(score))) {
  require<ValueError>(options.window >= 1, "LocalAttention: window {} given, expected at least 1", options.window);
  if (options.kind == LocalKind::kPredictive) {
    const ScoreSizes& sizes = score_.sizes();
    w_ = &child<HeadLinear>("w", sizes.heads, sizes.query, sizes.hidden);
    v_ = &child<HeadLinear>("v", sizes.heads, sizes.hidden, 1);
  }
}

Variable LocalAttention::predicted(const Variable& q, const LoweredMask& mask, int64_t keys) const {
  const Variable hidden = permute(tanh((*w_)(q)), {0, 2, 1, 3});  // [B, T, H, hidden]
  const Variable logits = (*v_)(hidden);
  const Variable share = sigmoid(cast(logits, accumulation_dtype(q.dtype())));  // [B, H, T, 1]
  if (!mask.spec.lengths.defined()) return share * static_cast<double>(keys);
  return share * Variable(mask.spec.lengths.to(share.dtype()).to(q.device()).view({q.dim(0), 1, 1, 1}));
}

Variable LocalAttention::align(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                               const LoweredMask& mask) {
  const auto [scores, allowed] = masked(score_(q, memory.prepared), mask);
  const Shape& shape = scores.shape();
  const auto reach = static_cast<double>(options_.window);
  if (options_.kind == LocalKind::kMonotonic) {
    const MaskSpec window{
        .causal_offset = state.position, .window_left = options_.window, .window_right = options_.window};
    return masked_softmax(scores, allowed & allowed_keys(window, {}, shape, q.device()));
  }
  const DType dtype = accumulation_dtype(q.dtype());  // positions are more than bfloat16 can count
  const Variable at(positions(shape[3], dtype, q.device()));
  const Variable squares = square(at - predicted(q, mask, shape[3]));  // [B, H, T, S]
  const Tensor inside = allowed & (squares.value() <= reach * reach);
  // exp(-d^2 / (2 (D / 2)^2))
  const Variable weights = masked_softmax(scores, inside) * cast(exp(squares * (-2 / (reach * reach))), q.dtype());
  return where(inside, weights, Variable(Tensor::zeros({1}, q.dtype(), q.device())));
}

}  // namespace attune
