#pragma once

#include <memory>

#include "layers/attention/alignment.h"
#include "layers/attention/score.h"

namespace attune {

struct GlobalAttentionOptions {
  double dropout = 0;  ///< of the weights, in training only
};

/// softmax(score(q, k) + bias) v over all keys that the mask allows (Bahdanau et al., 2015, eq. 5 and 6; Luong et al.,
/// 2015, eq. 7), with any score function. ScaledDotProduct is the same for products, fused.
class GlobalAttention : public AlignmentCore {
 public:
  explicit GlobalAttention(std::unique_ptr<Score> score, GlobalAttentionOptions options = {});

 protected:
  Variable prepare_keys(const Variable& k) const override { return score_.keys(k); }
  Variable align(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                 const LoweredMask& mask) override;

 private:
  Score& score_;
};

}  // namespace attune
