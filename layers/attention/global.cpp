#include "layers/attention/global.h"

#include "layers/attention/heads.h"

namespace attune {

GlobalAttention::GlobalAttention(std::unique_ptr<Score> score, GlobalAttentionOptions options)
    : AlignmentCore(options.dropout), score_(own("score", std::move(score))) {}

Variable GlobalAttention::align(const Variable& q, const AttentionMemory& memory, AttentionState&,
                                const LoweredMask& mask) {
  return masked(score_(q, memory.prepared), mask).weights();
}

}  // namespace attune
