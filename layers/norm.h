#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "layers/module.h"

namespace attune {

/// What the norms over the last axis have in common, so that a block can have any of them.
class Norm : public Module {
 public:
  virtual Variable operator()(const Variable& x) const = 0;
  /// A residual step: {x + dropout(branch), the norm of that}.
  virtual std::pair<Variable, Variable> add(const Variable& x, const Variable& branch, double dropout) const;
};

enum class NormKind : uint8_t { kLayer, kRms };

struct NormOptions {
  NormKind kind = NormKind::kLayer;
  double eps = 1e-5;
  bool bias = true;  ///< of LayerNorm
};

/// Throws ValueError for dim below 1 and an eps not above 0.
std::unique_ptr<Norm> make_norm(int64_t dim, const NormOptions& options = {});

struct LayerNormOptions {
  double eps = 1e-5;
  bool bias = true;
};

/// (x - mean) / sqrt(var + eps) * weight + bias over the last axis (Ba et al., 2016): x [..., dim] -> [..., dim].
/// Parameters: weight [dim], one; bias [dim], zero.
class LayerNorm : public Norm {
 public:
  /// Throws ValueError for dim below 1 and an eps not above 0.
  explicit LayerNorm(int64_t dim, LayerNormOptions options = {});

  Variable operator()(const Variable& x) const override;
  /// In one pass over memory.
  std::pair<Variable, Variable> add(const Variable& x, const Variable& branch, double dropout) const override;

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
class RMSNorm : public Norm {
 public:
  /// Throws ValueError for dim below 1 and an eps not above 0.
  explicit RMSNorm(int64_t dim, double eps = 1e-6);

  Variable operator()(const Variable& x) const override;

  const Variable& weight() const { return weight_; }
  double eps() const { return eps_; }

 private:
  double eps_;
  Variable weight_;
};

}  // namespace attune
