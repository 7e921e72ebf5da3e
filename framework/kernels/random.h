#pragma once

#include "framework/kernels/kernel.h"
#include "framework/random.h"

namespace attune {

/// y = x / (1 - p) where the draw at `state` keeps the element, 0 elsewhere (NaN too): element i is kept when its
/// random word (framework/random.h) is at least floor(p 2^32). x: any strides; y: contiguous, same shape and floating
/// dtype; y may be x.
ATTUNE_KERNEL(dropout, const Tensor& x, RandomState state, double p, Tensor& y);

/// Uniform in [0, 1) from two words: as many bits as T holds, so that no value is rounded up to 1.
template <class T>
constexpr T uniform_of(uint32_t high, uint32_t low) {
  constexpr int kBits = sizeof(T) == 4 ? 24 : 53;
  const uint64_t bits = ((static_cast<uint64_t>(high) << 32) | low) >> (64 - kBits);
  return static_cast<T>(bits) / static_cast<T>(uint64_t{1} << kBits);
}
/// In (0, 1], of which the logarithm is finite.
constexpr double radius_of(uint32_t word) { return (static_cast<double>(word) + 1) / 4294967296.0; }
/// In [0, 1).
constexpr double fraction_of(uint32_t word) { return static_cast<double>(word) / 4294967296.0; }

/// y[i] = uniform in [0, 1), from words 2 i and 2 i + 1 of the draw at `state`. y: contiguous, floating.
ATTUNE_WIDE_KERNEL(draw_uniform, RandomState state, Tensor& y);

/// y[i] = standard normal by Box and Muller, from words 2 i and 2 i + 1. y: contiguous, floating.
ATTUNE_WIDE_KERNEL(draw_normal, RandomState state, Tensor& y);

}  // namespace attune
