#pragma once

#include <array>
#include <initializer_list>
#include <span>
#include <vector>

#include "framework/shape.h"

namespace attune {

/// Axes of a tensor: {0, -1}, one number, or a span. Negative ones count from the end. None stands for all where axes
/// are reduced. Held inline: copying allocates nothing.
class Axes {
 public:
  Axes() = default;
  Axes(int axis) : Axes(std::span(&axis, 1)) {}  // NOLINT: axes convert
  Axes(std::initializer_list<int> axes) : Axes(std::span(axes.begin(), axes.size())) {}
  Axes(const std::vector<int>& axes) : Axes(std::span(axes)) {}  // NOLINT
  /// Throws ShapeError for more than Shape::kMaxRank axes.
  Axes(std::span<const int> axes);  // NOLINT

  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }
  const int* begin() const { return axes_.data(); }
  const int* end() const { return axes_.data() + count_; }
  operator std::span<const int>() const { return {axes_.data(), count_}; }  // NOLINT

 private:
  std::array<int, Shape::kMaxRank> axes_{};
  size_t count_ = 0;
};

}  // namespace attune
