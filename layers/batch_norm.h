#pragma once

#include <cstdint>

#include "layers/module.h"

namespace attune {

struct BatchNormOptions {
  double eps = 1e-5;
  double momentum = 0.1;  ///< share of the newest batch in the running statistics
};

/// Batch normalisation by channel (Ioffe and Szegedy, 2015): x [B, H, W, C] -> the same shape. In training by the mean
/// and the biased variance of the batch, which also move the running statistics (with the unbiased variance, as
/// PyTorch's):
///
///     running = (1 - momentum) running + momentum batch
///
/// In evaluation by the running statistics. Parameters: weight [C], one; bias [C], zero.
/// Buffers, saved with the module: running_mean [C], zero; running_var [C], one.
class BatchNorm2d : public Module {
 public:
  /// Throws ValueError for channels below 1, an eps not above 0 and a momentum outside [0, 1].
  explicit BatchNorm2d(int64_t channels, BatchNormOptions options = {});

  /// Throws ShapeError naming the module, also in training for a single value per channel: it has no variance.
  Variable operator()(const Variable& x) const;

  const Variable& running_mean() const { return running_mean_; }
  const Variable& running_var() const { return running_var_; }

 private:
  BatchNormOptions options_;
  Variable weight_;
  Variable bias_;
  Variable running_mean_;
  Variable running_var_;
};

/// Group normalisation (Wu and He, 2018): x [B, ..., C], channels last; each sample by mean and biased variance over
/// every group of C / groups neighbouring channels and all positions, then times weight plus bias by channel.
/// Parameters: weight [C], one; bias [C], zero.
class GroupNorm : public Module {
 public:
  /// Throws ValueError for groups that do not divide the channels and an eps not above 0.
  GroupNorm(int64_t groups, int64_t channels, double eps = 1e-5);

  Variable operator()(const Variable& x) const;

 private:
  int64_t groups_;
  double eps_;
  Variable weight_;
  Variable bias_;
};

}  // namespace attune
