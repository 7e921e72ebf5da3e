#include "layers/attention/alignment.h"

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "framework/fail.h"

namespace attune {
AlignmentCore::AlignmentCore(double dropout) : dropout_(dropout) {
  require<ValueError>(dropout >= 0 && dropout < 1, "attention: dropout {} given, expected 0 <= p < 1", dropout);
}

AttentionResult AlignmentCore::attend(const Variable& q, const Variable& k, const Variable& v, const LoweredMask& mask,
                                      bool want_weights) {
  AttentionState state;
  return attend_next(q, {k, v, prepare_keys(k), {}, q.dim(1)}, state, mask, want_weights);
}

AttentionResult AlignmentCore::attend_next(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                                           const LoweredMask& mask, bool want_weights) {
  if (memory.v.dim(2) < 1 || q.dim(2) % memory.v.dim(2) != 0) [[unlikely]] {
    fail<ShapeError>("{}: q has {} heads and the keys {}; the first must be a multiple of the second", who("attention"),
                     q.dim(2), memory.v.dim(2));
  }
  AttentionResult result;
  const Variable weights = align(q, memory, state, mask);
  const Variable used = training() && dropout_ > 0 ? dropout(weights, dropout_) : weights;
  result.output = weighted_sum(used, memory.v);
  if (want_weights) result.weights = weights;
  return result;
}

}  // namespace attune
