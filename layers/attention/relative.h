#pragma once

#include <cstdint>

#include "layers/attention/core.h"

namespace attune {

struct RelativeAttentionOptions {
  int64_t max_distance = 16;   ///< k of the paper: farther keys count as this far
  bool values = true;          ///< a^V beside a^K
  int64_t value_size = 0;      ///< Kv; 0: K
  double dropout = 0;          ///< of the weights, in training only
  Align align = Align::kLast;  ///< which key the queries' positions are counted from
};

/// Scaled dot-product attention with relative positions (Shaw et al., 2018, eq. 3 and 4): with
/// d = clip(s - p, -max_distance, max_distance) for a query at key p, which is t, or t + S - T with Align::kLast,
///
///     weights = softmax(q_t (k_s + aK_d) / sqrt(K)),  y_t = sum_s weights_ts (v_s + aV_d)
///
/// In self-attention both are the same; decoding with an AttentionCache needs Align::kLast. Takes T S K elements of
/// memory for all heads and samples together (section 3.3).
/// Parameters, shared by the heads: key [2 max_distance + 1, K] and value [2 max_distance + 1, Kv], Glorot's uniform.
class RelativeAttention : public AttentionCore {
 public:
  /// head_size: K. Throws ValueError for extents below 1 and a dropout outside [0, 1).
  explicit RelativeAttention(int64_t head_size, RelativeAttentionOptions options = {});

 protected:
  AttentionResult attend(const Variable& q, const Variable& k, const Variable& v, const LoweredMask& mask,
                         bool want_weights) override;
  AttentionResult attend_next(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                              const LoweredMask& mask, bool want_weights) override;

 private:
  /// first: key of query 0.
  AttentionResult attend_from(int64_t first, const Variable& q, const Variable& k, const Variable& v,
                              const LoweredMask& mask, bool want_weights);

  RelativeAttentionOptions options_;
  Variable key_;
  Variable value_;
};

}  // namespace attune
