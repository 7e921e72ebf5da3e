#pragma once

#include <array>
#include <cstdint>

#include "framework/kernels/cpu/parallel.h"
#include "framework/tensor.h"

namespace attune::cpu {

/// A walk over the elements of N tensors, each broadcast to one shape. Axes that lie behind each other in every operand
/// are joined, so that contiguous tensors make a single run.
template <size_t N>
class StridedLoop {
 public:
  StridedLoop(const Shape& shape, const std::array<const Tensor*, N>& operands) : numel_(shape.numel()) {
    for (int axis = 0; axis < shape.rank(); ++axis) {
      const int64_t extent = shape[axis];
      if (extent == 1) continue;
      std::array<int64_t, N> stride;
      bool joins = rank_ > 0;
      for (size_t k = 0; k < N; ++k) {
        const int own = axis - (shape.rank() - operands[k]->rank());
        const bool repeated = own < 0 || operands[k]->shape()[own] == 1;
        stride[k] = repeated ? 0 : operands[k]->strides()[own];
        joins = joins && stride_[static_cast<size_t>(rank_ - 1)][k] == stride[k] * extent;
      }
      if (!joins) ++rank_;
      const auto at = static_cast<size_t>(rank_ - 1);
      extent_[at] = joins ? extent_[at] * extent : extent;
      stride_[at] = stride;
    }
    if (rank_ == 0) {
      rank_ = 1;
      extent_[0] = 1;
      stride_[0].fill(1);
    }
  }

  int64_t numel() const { return numel_; }
  int rank() const { return rank_; }
  int64_t extent(int axis) const { return extent_[static_cast<size_t>(axis)]; }
  int64_t stride(int axis, size_t operand) const { return stride_[static_cast<size_t>(axis)][operand]; }
  /// Length of a run and the step between its elements.
  int64_t run() const { return extent(rank_ - 1); }
  int64_t step(size_t operand) const { return stride(rank_ - 1, operand); }

  /// f(offsets, count) for elements begin ... end - 1 of the walk: `count` elements from offsets[k] on, step(k) apart.
  template <class F>
  void for_each_run(int64_t begin, int64_t end, F&& f) const {
    if (begin >= end) return;
    std::array<int64_t, Shape::kMaxRank> index{};
    std::array<int64_t, N> offset{};
    int64_t rest = begin;
    for (int axis = rank_ - 1; axis >= 0; --axis) {
      const auto at = static_cast<size_t>(axis);
      index[at] = rest % extent_[at];
      rest /= extent_[at];
      for (size_t k = 0; k < N; ++k) offset[k] += index[at] * stride_[at][k];
    }
    const auto inner = static_cast<size_t>(rank_ - 1);
    for (int64_t left = end - begin;;) {
      const int64_t room = extent_[inner] - index[inner];
      const int64_t count = room < left ? room : left;
      f(std::as_const(offset), count);
      left -= count;
      if (left == 0) return;
      for (size_t k = 0; k < N; ++k) offset[k] -= index[inner] * stride_[inner][k];
      index[inner] = 0;
      for (int axis = rank_ - 2; axis >= 0; --axis) {
        const auto at = static_cast<size_t>(axis);
        for (size_t k = 0; k < N; ++k) offset[k] += stride_[at][k];
        if (++index[at] < extent_[at]) break;
        for (size_t k = 0; k < N; ++k) offset[k] -= extent_[at] * stride_[at][k];
        index[at] = 0;
      }
    }
  }

  /// The same over all elements, split over the threads.
  template <class F>
  void parallel_runs(int64_t grain, F&& f) const {
    parallel_for(numel_, grain, [&](int64_t begin, int64_t end, int64_t) { for_each_run(begin, end, f); });
  }

 private:
  int64_t numel_;
  int rank_ = 0;
  std::array<int64_t, Shape::kMaxRank> extent_{};
  std::array<std::array<int64_t, N>, Shape::kMaxRank> stride_{};
};

}  // namespace attune::cpu
