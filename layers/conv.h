#pragma once

#include <cstdint>

#include "autograd/ops/conv.h"
#include "layers/init.h"
#include "layers/module.h"

namespace attune {

/// Two-dimensional convolution, channels last: x [B, H, W, in] -> [B, OH, OW, out]; see conv2d() of
/// autograd/ops/conv.h. Parameters: weight [out, in / groups, KH, KW] as PyTorch's, by default He's uniform for relu;
/// bias [out], zero.
class Conv2d : public Module {
 public:
  /// Throws ValueError for extents below 1 and groups that do not divide both widths.
  Conv2d(int64_t in, int64_t out, Extent2d window, Conv2dOptions options = {}, bool bias = true,
         const init::Initializer& weight_init = init::KaimingUniform{});

  /// Throws ShapeError naming the module.
  Variable operator()(const Variable& x) const;

  const Variable& weight() const { return weight_; }
  /// Undefined without a bias.
  const Variable& bias() const { return bias_; }

 private:
  Conv2dOptions options_;
  Variable weight_;
  Variable bias_;
};

/// Convolution along one axis, channels first: x [B, in, S] -> [B, out, S']; see conv1d() of autograd/ops/conv.h.
/// Parameters: weight [out, in / groups, K], bias [out], as Conv2d's.
class Conv1d : public Module {
 public:
  Conv1d(int64_t in, int64_t out, int64_t window, Conv1dOptions options = {}, bool bias = true,
         const init::Initializer& weight_init = init::KaimingUniform{});

  Variable operator()(const Variable& x) const;

  const Variable& weight() const { return weight_; }
  const Variable& bias() const { return bias_; }

 private:
  Conv1dOptions options_;
  Variable weight_;
  Variable bias_;
};

}  // namespace attune
