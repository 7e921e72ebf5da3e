#pragma once

#include <cstdint>

#include "framework/kernels/kernel.h"

namespace attune {

/// Which elements of a head make a pair: 2i and 2i + 1 (Su et al.), or i and i + R / 2 (GPT-NeoX, Llama).
enum class RotaryLayout : uint8_t { kInterleaved, kHalves };

/// Pairs (a, b) of the last axis turned by the angle of their position: a cos - b sin, a sin + b cos, with `sign`
/// before the sines. x [B, N, H, K]: any strides with unit steps along the last axis; cosines, sines [N, R / 2]:
/// contiguous, dtype of x (float32 for bfloat16); the first R elements are turned. y: shape of x, contiguous; not x.
ATTUNE_WIDE_KERNEL(rotary, const Tensor& x, const Tensor& cosines, const Tensor& sines, RotaryLayout layout,
                   double sign, Tensor& y);

}  // namespace attune
