#pragma once

#include <algorithm>
#include <cstdint>

#include "framework/tensor.h"

// Index arithmetic of CUDA kernels. Plain functions, constexpr so that device code may call them; tested on the host.

namespace attune::cuda {

/// n / divisor by one multiplication, for 0 <= n < 2^31 and 1 <= divisor < 2^31 (Granlund and Montgomery, "Division by
/// Invariant Integers using Multiplication", PLDI 1994, figure 4.1 with N = 32).
struct Divider {
  uint32_t divisor = 1;
  uint32_t multiplier = 1;
  uint32_t shift = 0;

  Divider() = default;
  constexpr explicit Divider(uint32_t d) : divisor(d) {
    while ((uint64_t{1} << shift) < d) ++shift;
    multiplier = static_cast<uint32_t>(((uint64_t{1} << 32) * ((uint64_t{1} << shift) - d)) / d + 1);
  }

  constexpr uint32_t quotient(uint32_t n) const {
    const auto high = static_cast<uint32_t>((static_cast<uint64_t>(n) * multiplier) >> 32);
    return (high + n) >> shift;  // no carry below 2^31
  }
};

/// Axes of up to kMaxRank extents, walked in row-major order: where position i of the walk lies in each of N operands.
template <int N>
struct Walk {
  int rank = 0;
  Divider extent[Shape::kMaxRank];
  int64_t stride[Shape::kMaxRank][N] = {};

  constexpr void offsets(uint32_t i, int64_t (&out)[N]) const {
    for (int k = 0; k < N; ++k) out[k] = 0;
    for (int axis = rank - 1; axis > 0; --axis) {
      const uint32_t outer = extent[axis].quotient(i);
      const auto own = static_cast<int64_t>(i - outer * extent[axis].divisor);
      for (int k = 0; k < N; ++k) out[k] += own * stride[axis][k];
      i = outer;
    }
    for (int k = 0; k < N; ++k) out[k] += static_cast<int64_t>(i) * stride[0][k];
  }
};

/// The shape that a kernel with N operands runs over, each broadcast to it: axes of extent 1 left out, axes that lie
/// behind each other in every operand joined.
template <int N>
struct StridedShape {
  int rank = 0;
  int64_t extent[Shape::kMaxRank] = {};
  int64_t stride[Shape::kMaxRank][N] = {};

  StridedShape() = default;
  StridedShape(const Shape& shape, const Tensor* const (&operands)[N]) {
    for (int axis = 0; axis < shape.rank(); ++axis) {
      int64_t steps[N];
      for (int k = 0; k < N; ++k) {
        const int own = axis - (shape.rank() - operands[k]->rank());
        const bool repeated = own < 0 || operands[k]->shape()[own] == 1;
        steps[k] = repeated ? 0 : operands[k]->strides()[own];
      }
      push(shape[axis], steps);
    }
    finish();
  }

  /// The next axis inward, with its step in every operand.
  void push(int64_t n, const int64_t (&steps)[N]) {
    if (n == 1) return;
    bool joins = rank > 0;
    for (int k = 0; k < N; ++k) joins = joins && stride[rank - 1][k] == steps[k] * n;
    if (!joins) ++rank;
    extent[rank - 1] = joins ? extent[rank - 1] * n : n;
    std::copy_n(steps, N, stride[rank - 1]);
  }
  /// After the last axis: a single element is an axis of extent 1.
  void finish() {
    if (rank > 0) return;
    rank = 1;
    extent[0] = 1;
    std::fill_n(stride[0], N, 1);
  }

  int64_t numel() const {
    int64_t n = 1;
    for (int axis = 0; axis < rank; ++axis) n *= extent[axis];
    return n;
  }

  /// One run of neighbours in operand k.
  bool contiguous(int k) const { return rank == 1 && (stride[0][k] == 1 || extent[0] == 1); }

  /// f(walk, count, offsets) for parts of the shape with at most `most` positions, `offsets` being where they begin in
  /// every operand.
  template <class F>
  void for_each_part(F&& f, int64_t most = int64_t{1} << 30) const {
    const int64_t offsets[N] = {};
    part(most, offsets, f);
  }

 private:
  template <class F>
  void part(int64_t most, const int64_t (&offsets)[N], F& f) const {
    const int64_t n = numel();
    if (n == 0) return;
    if (n <= most) {
      Walk<N> walk;
      walk.rank = rank;
      for (int axis = 0; axis < rank; ++axis) {
        walk.extent[axis] = Divider(static_cast<uint32_t>(extent[axis]));
        std::copy_n(stride[axis], N, walk.stride[axis]);
      }
      f(walk, static_cast<uint32_t>(n), offsets);
      return;
    }
    // As many slices along the outermost axis as fit; a slice that does not fit by itself is cut further.
    const int64_t slice = n / extent[0];
    const int64_t many = std::max<int64_t>(1, most / slice);
    for (int64_t begin = 0; begin < extent[0]; begin += many) {
      StridedShape rest = *this;
      int64_t at[N];
      for (int k = 0; k < N; ++k) at[k] = offsets[k] + begin * stride[0][k];
      rest.extent[0] = std::min(many, extent[0] - begin);
      if (rest.extent[0] == 1 && rank > 1) {
        --rest.rank;
        for (int axis = 0; axis < rest.rank; ++axis) {
          rest.extent[axis] = extent[axis + 1];
          std::copy_n(stride[axis + 1], N, rest.stride[axis]);
        }
      }
      rest.part(most, at, f);
    }
  }
};

}  // namespace attune::cuda
