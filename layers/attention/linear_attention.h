#pragma once

#include "layers/attention/core.h"

namespace attune {

/// Attention whose similarity is a product of features instead of exp(q k) (Katharopoulos et al., 2020, eq. 4 and 5):
///
///     y_t = sum_s phi(q_t) phi(k_s) v_s / sum_s phi(q_t) phi(k_s)  over the keys that the mask allows
///
/// The sums over keys are taken once for all queries, and under a causal mask from block to block of queries (eq. 9 and
/// 10): time and memory grow with T + S, not with T S. So it is under padding, causal masks at any offset and keep(...)
/// of extents [B, H, 1, S]. Other masks, and weights when asked for, take the quadratic form, the same sums in another
/// order. A bias b multiplies similarities by exp(b), as it does those of softmax.
class FeatureAttention : public AttentionCore {
 protected:
  /// phi of queries [B, T, H, K] and of keys [B, S, Hkv, K], in F features of 0 or more. Each may be scaled by a factor
  /// of its own that is the same for all keys, or for all queries of a key: it cancels.
  virtual Variable query_features(const Variable& q) const = 0;
  virtual Variable key_features(const Variable& k) const = 0;

 private:
  AttentionResult attend(const Variable& q, const Variable& k, const Variable& v, const LoweredMask& mask,
                         bool want_weights) final;
  Variable prepare_keys(const Variable& k) const final;
  AttentionResult attend_next(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                              const LoweredMask& mask, bool want_weights) final;
  AttentionResult attend_by_features(const Variable& q, const Variable& k_features, const Variable& v,
                                     const LoweredMask& mask, bool want_weights) const;
};

/// Linear attention (Katharopoulos et al., 2020, eq. 7): phi(x) = elu(x) + 1 in K features. Has no parameters.
class LinearAttention : public FeatureAttention {
 protected:
  Variable query_features(const Variable& q) const override;
  Variable key_features(const Variable& k) const override;
};

}  // namespace attune
