#pragma once

#include "autograd/ops/pool.h"
#include "layers/module.h"

namespace attune {

/// max_pool2d() of autograd/ops/pool.h as a layer: x [B, H, W, C] -> [B, OH, OW, C].
class MaxPool2d : public Module {
 public:
  explicit MaxPool2d(Extent2d window, PoolOptions options = {}) : window_(window), options_(options) {}

  Variable operator()(const Variable& x) const { return result(max_pool2d(x, window_, options_)); }

 private:
  Extent2d window_;
  PoolOptions options_;
};

/// average_pool2d() as a layer.
class AveragePool2d : public Module {
 public:
  explicit AveragePool2d(Extent2d window, PoolOptions options = {}) : window_(window), options_(options) {}

  Variable operator()(const Variable& x) const { return result(average_pool2d(x, window_, options_)); }

 private:
  Extent2d window_;
  PoolOptions options_;
};

/// adaptive_average_pool2d() as a layer: x [B, H, W, C] -> [B, out.height, out.width, C].
class AdaptiveAveragePool2d : public Module {
 public:
  explicit AdaptiveAveragePool2d(Extent2d out) : out_(out) {}

  Variable operator()(const Variable& x) const { return result(adaptive_average_pool2d(x, out_)); }

 private:
  Extent2d out_;
};

}  // namespace attune
