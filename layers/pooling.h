#pragma once

#include <cstdint>

#include "layers/attention/core.h"
#include "layers/module.h"

namespace attune {

/// Mean over the real positions: x [B, S, D], lengths int64 [B] -> [B, D]; 0 for length 0. Without lengths: over all.
class MeanPooling : public Module {
 public:
  Variable operator()(const Variable& x, const Tensor& lengths = {}) const;
};

/// The first position: x [B, S, D] -> [B, D]. Throws ShapeError for S = 0.
class FirstPooling : public Module {
 public:
  Variable operator()(const Variable& x) const;
};

struct AttentionPoolingOptions {
  int64_t heads = 1;
  double dropout = 0;  ///< of the weights, in training only
};

/// A learned query attends to the positions (Yang et al., "Hierarchical Attention Networks", 2016, eq. 5-7, without the
/// hidden layer): sum_s softmax_s(q x_s / sqrt(K)) x_s in every head by itself, K = D / heads.
/// x [B, S, D] -> output [B, D], weights [B, heads, S] when asked. A sample whose positions are all masked gives 0.
/// Parameter: query [D], zero: training begins with the mean.
class AttentionPooling : public Module {
 public:
  /// Throws ValueError when heads do not divide dim.
  explicit AttentionPooling(int64_t dim, AttentionPoolingOptions options = {});

  /// mask: for one query (T = 1). Throws ShapeError naming the module.
  AttentionResult operator()(const Variable& x, const AttentionMask& mask = {}, bool want_weights = false) const;

 private:
  int64_t heads_;
  Variable query_;
  AttentionCore& core_;
};

}  // namespace attune
