#pragma once

#include <cstdint>

#include "framework/kernels/kernel.h"

namespace attune {

/// A window that slides along one axis: output position i meets input positions i stride - padding + j dilation,
/// j < size; those outside count as 0.
struct ConvAxis {
  int64_t size = 1;
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t dilation = 1;
};

struct ConvSpec {
  ConvAxis height;
  ConvAxis width;
  int64_t groups = 1;
};

// Channels stand last, so that a window's row is one run of memory, a product's result is the output itself, and the
// regions of a picture are keys for attention without a copy. C = groups Cg input channels, O output channels. x
// [B, H, W, C], weight [O, KH, KW, Cg], y [B, OH, OW, O]; all contiguous.

/// y = convolution of x (+ bias [O], optional). Output channels of group g see input channels of group g.
ATTUNE_WIDE_KERNEL(conv2d, const ConvSpec& spec, const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y);

/// dx is written.
ATTUNE_WIDE_KERNEL(conv2d_backward_input, const ConvSpec& spec, const Tensor& dy, const Tensor& weight, Tensor& dx);

/// dweight is written.
ATTUNE_WIDE_KERNEL(conv2d_backward_weight, const ConvSpec& spec, const Tensor& dy, const Tensor& x, Tensor& dweight);

}  // namespace attune
