#pragma once

#include <cstdint>

#include "layers/module.h"

namespace attune {

struct LayerNormOptions {
  double eps = 1e-5;
  bool bias = true;
};

/// (x - mean) / sqrt(var + eps) * weight + bias over the last axis (Ba et al., 2016): x [..., dim] -> [..., dim].
/// Parameters: weight [dim], one; bias [dim], zero.
class LayerNorm : public Module {
 public:
  /// Throws ValueError for dim below 1 and an eps not above 0.
  explicit LayerNorm(int64_t dim, LayerNormOptions options = {});

  Variable operator()(const Variable& x) const;

  const Variable& weight() const { return weight_; }
  /// Undefined without a bias.
  const Variable& bias() const { return bias_; }
  double eps() const { return eps_; }

 private:
  double eps_;
  Variable weight_;
  Variable bias_;
};

/// x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang and Sennrich, 2019): x [..., dim] -> [..., dim].
/// Parameter: weight [dim], one.
class RMSNorm : public Module {
 public:
  /// Throws ValueError for dim below 1 and an eps not above 0.
  explicit RMSNorm(int64_t dim, double eps = 1e-6);

  Variable operator()(const Variable& x) const;

  const Variable& weight() const { return weight_; }
  double eps() const { return eps_; }

 private:
  double eps_;
  Variable weight_;
};

}  // namespace attune
