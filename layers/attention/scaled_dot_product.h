#pragma once

#include "layers/attention/core.h"

namespace attune {

/// How an attention is computed: by one fused kernel, or composed from products and a masked softmax, which is what the
/// fused kernel is tested against.
enum class AttentionPath : uint8_t { kFused, kComposed };

struct ScaledDotProductOptions {
  double scale = 0;       ///< 0: 1 / sqrt(K)
  double softcap = 0;     ///< scores become softcap * tanh(score / softcap), after scaling, before masks; 0: they stay
  ScoreFunction score{};  ///< a formula of one's own, after softcap and before masks (see score_function.h)
  double dropout = 0;     ///< of the weights, in training only
  AttentionPath path = AttentionPath::kFused;
};

/// softmax(scale q k^T + bias) v over the keys that the mask allows (Vaswani et al., 2017, eq. 1).
class ScaledDotProduct : public AttentionCore {
 public:
  /// Throws ValueError for a negative softcap and a dropout outside [0, 1).
  explicit ScaledDotProduct(ScaledDotProductOptions options = {});

 protected:
  AttentionResult attend(const Variable& q, const Variable& k, const Variable& v, const LoweredMask& mask,
                         bool want_weights) override;
  AttentionResult attend_packed(const Variable& qkv, const LoweredMask& mask, bool want_weights) override;
  AttentionResult attend_packed_kv(const Variable& q, const Variable& kv, const LoweredMask& mask,
                                   bool want_weights) override;

 private:
  AttentionOptions call_options(bool want_weights) const;

  ScaledDotProductOptions options_;
};

}  // namespace attune
