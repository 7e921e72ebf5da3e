#include "layers/attention/global.h"

#include "autograd/ops/ops.h"

namespace attune {

GlobalAttention::GlobalAttention(std::unique_ptr<Score> score, GlobalAttentionOptions options)
    : AlignmentCore(options.dropout), score_(own("score", std::move(score))) {}

Variable GlobalAttention::align(const Variable& q, const AttentionMemory& memory, AttentionState&,
                                const LoweredMask& mask) {
  const Variable scores = biased(score_(q, memory.prepared), mask);
  return masked_softmax(scores, allowed_keys(mask, scores.shape()));
}

}  // namespace attune
