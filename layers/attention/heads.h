#pragma once

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "layers/attention/mask.h"

// For cores composed of ops: heads in front of positions, query heads beside the key head that they share.

namespace attune {

/// x [B, N, H, K] -> [B, H, N, K]; a view.
inline Variable heads_first(const Variable& x) { return permute(x, {0, 2, 1, 3}); }

/// x [B, N, H, K] -> [B, Hkv, H / Hkv, N, K]; a view.
inline Variable grouped(const Variable& x, int64_t key_heads) {
  return permute(reshape(x, {x.dim(0), x.dim(1), key_heads, x.dim(2) / key_heads, x.dim(3)}), {0, 2, 3, 1, 4});
}

/// The way back: y [B, Hkv, H / Hkv, N, K] -> [B, N, H, K].
inline Variable ungrouped(const Variable& y) {
  return reshape(permute(y, {0, 3, 1, 2, 4}), {y.dim(0), y.dim(3), y.dim(1) * y.dim(2), y.dim(4)});
}

/// Scores [B, H, T, S] with the bias of a mask, and which of them it allows.
struct MaskedScores {
  Variable scores;
  Tensor allowed;  // bool [B, H, T, S], on the scores' device; false also where the bias is -infinity

  /// Softmax over the keys that are allowed.
  Variable weights() const { return masked_softmax(scores, allowed); }
};
MaskedScores masked(const Variable& scores, const LoweredMask& mask);

/// Whether keys are chosen by nothing that differs from query to query, but for causality and windows.
inline bool is_by_key(const MaskSpec& mask, int64_t queries) {
  return !mask.where && (!mask.keep.defined() || mask.keep.stride(2) == 0 || queries == 1);
}

/// For a mask that is_by_key(), the keys that its lengths and `keep` allow: bool [B, Hkv, G, S, 1], G = H / Hkv, or
/// [B, 1, 1, S, 1] when all heads have the same; undefined when it allows all.
Tensor chosen_keys(const MaskSpec& mask, int64_t batch, int64_t key_heads, int64_t group, int64_t keys);

}  // namespace attune
