#include "layers/attention/monotonic.h"

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "framework/math/compare.h"
#include "layers/attention/heads.h"
#include "layers/init.h"

namespace attune {

MonotonicAttention::MonotonicAttention(std::unique_ptr<Score> score, MonotonicAttentionOptions options)
    : AlignmentCore(options.dropout), options_(options), score_(own("score", std::move(score))) {
  require<ValueError>(options.noise >= 0, "MonotonicAttention: noise {} given, expected at least 0", options.noise);
  offset_ = parameter("offset", init::constant({score_.sizes().heads}, options.offset));
}

/// p of energies [B, H, T, S].
Variable MonotonicAttention::stopping(const Variable& energies) const {
  if (!training()) {
    return Variable((~(energies.value() <= 0)).to(energies.dtype()));
  }
  if (options_.noise == 0) return sigmoid(energies);
  const Tensor noise = default_stream().normal(energies.shape(), 0, options_.noise, energies.dtype());
  return sigmoid(energies + Variable(noise.to(energies.device())));
}

Variable MonotonicAttention::align(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                                   const LoweredMask& mask) {
  // Probabilities are multiplied over many keys and queries: bfloat16 is widened.
  const auto [scores, allowed] = masked(score_(q, memory.prepared), mask);
  const DType dtype = accumulation_dtype(scores.dtype());
  const Variable energies =
      cast(scores, dtype) + reshape(cast(offset_, dtype), {offset_.dim(0), 1, 1});  // [B, H, T, S]
  const Shape& shape = energies.shape();
  if (!state.carried.defined()) {
    Tensor first = Tensor::zeros({shape[0], shape[1], shape[3]}, dtype, q.device());
    if (shape[3] > 0) first.slice(2, 0, 1).fill_(1);
    state.carried = Variable(first);
  }
  auto [weights, last] = monotonic_alignment(stopping(energies), state.carried, allowed);
  state.carried = std::move(last);
  return cast(weights, q.dtype());
}

}  // namespace attune
