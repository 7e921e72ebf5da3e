#include "layers/attention/location.h"

#include <algorithm>

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/attention/heads.h"

namespace attune {

LocationAttention::LocationAttention(LocationAttentionOptions options)
    : AlignmentCore(options.dropout),
      options_(options),
      w_(child<HeadLinear>("w", options.heads, options.query, options.max_keys)) {}

Variable LocationAttention::align(const Variable& q, const AttentionMemory& memory, AttentionState&,
                                  const LoweredMask& mask) {
  if (q.dim(2) != options_.heads || q.dim(3) != options_.query) [[unlikely]] {
    fail<ShapeError>("{}: q is {}, expected [B, T, {}, {}]", who("LocationAttention"), q.shape(), options_.heads,
                     options_.query);
  }
  const int64_t keys = memory.v.dim(1), known = std::min(keys, options_.max_keys);
  Variable scores = w_.part(q, known, 0, options_.query);  // [B, H, T, known]
  if (known < keys) {
    const Shape rest{q.dim(0), q.dim(2), q.dim(1), keys - known};
    scores = concat({scores, Variable(Tensor::zeros(rest, q.dtype(), q.device()))}, 3);
  }
  const MaskedScores all = masked(scores, mask);
  Tensor(all.allowed).slice(3, known, keys).fill_(0);
  return all.weights();
}

}  // namespace attune
