#pragma once

#include <cstdint>

#include "framework/random.h"
#include "layers/attention/linear_attention.h"

namespace attune {

struct PerformerOptions {
  int64_t features = 0;    ///< m; 0: K log(K), rounded up
  bool orthogonal = true;  ///< features of a block of K are orthogonal, which lessens the variance
};

/// Performer, FAVOR+ (Choromanski et al., 2021, section 2): softmax attention's exp(q k / sqrt(K)) is estimated without
/// bias by positive random features (lemma 1), x divided by K^(1/4):
///
///     phi(x) = exp(-|x|^2 / 2) / sqrt(m) [exp(w_1 x) ... exp(w_m x)],  w_i ~ N(0, I)
///
/// The w_i are drawn once, block by block of K orthogonal ones with the lengths of normal vectors (section 2.4); they
/// do not learn. Factors that cancel are left out, so that features of queries lie in (0, 1]; those of keys underflow
/// in float32 where |k|^2 / sqrt(K) is beyond 150 or so: such keys take no part. Buffer, saved with the model:
/// directions [m, K].
class Performer : public FeatureAttention {
 public:
  /// head_size: K. Throws ValueError for a size below 1 and a negative number of features.
  explicit Performer(int64_t head_size, PerformerOptions options = {}, RandomStream& stream = default_stream());

  /// Draws other features, as is done now and then in training (section 2.4).
  void redraw(RandomStream& stream = default_stream());

 protected:
  Variable query_features(const Variable& q) const override;
  Variable key_features(const Variable& k) const override;

 private:
  /// w_i x: [B, N, H, K] -> [B, N, H, m], and x divided by K^(1/4).
  std::pair<Variable, Variable> project(const Variable& x, const char* name) const;

  bool orthogonal_;
  Variable directions_;
};

}  // namespace attune
