#pragma once

#include <algorithm>
#include <cstdint>

#include "framework/kernels/conv.h"

namespace attune::cuda {

/// Zeros behind an axis, as many as the last of `out` windows meets: with them cuDNN finds that many windows. Tested on
/// the host.
constexpr int64_t padding_behind(const ConvAxis& a, int64_t in, int64_t out) {
  return std::max<int64_t>(0, (out - 1) * a.stride + a.dilation * (a.size - 1) + 1 - in - a.padding);
}

}  // namespace attune::cuda
