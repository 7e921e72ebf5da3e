#pragma once

#include <cstdint>

#include "layers/attention/alignment.h"
#include "layers/attention/head_linear.h"

namespace attune {

struct LocationAttentionOptions {
  int64_t query = 0;     ///< width of a query's head
  int64_t heads = 1;     ///< H
  int64_t max_keys = 0;  ///< keys behind so many are not attended to
  double dropout = 0;    ///< of the weights, in training only
};

/// softmax(W q + bias) v: weights of positions from the query alone (Luong et al., 2015, eq. 8: location). For fewer
/// keys only the first rows of W are used. Parameter: w.weight [H, max_keys, query].
class LocationAttention : public AlignmentCore {
 public:
  /// Throws ValueError for sizes below 1.
  explicit LocationAttention(LocationAttentionOptions options);

 protected:
  Variable align(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                 const LoweredMask& mask) override;

 private:
  LocationAttentionOptions options_;
  HeadLinear& w_;
};

}  // namespace attune
