#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace attune {

/// The extents of a tensor, outermost first, at most kMaxRank of them. Held inline: copying allocates nothing.
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  /// Throws ShapeError for more than kMaxRank dimensions.
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  /// Product of the extents. Throws ShapeError where int64 does not hold it.
  int64_t numel() const;
  /// Extent of an axis; negative axes count from the end. Throws ShapeError outside the rank.
  int64_t dim(int axis) const { return dims_[static_cast<size_t>(this->axis(axis))]; }
  /// Turns a possibly negative axis into 0 ... rank - 1. Throws ShapeError outside the rank.
  int axis(int axis) const;

  int64_t operator[](int axis) const { return dims_[static_cast<size_t>(axis)]; }
  int64_t& operator[](int axis) { return dims_[static_cast<size_t>(axis)]; }
  const int64_t* begin() const { return dims_.data(); }
  const int64_t* end() const { return dims_.data() + rank_; }

  void push_back(int64_t dim);
  void insert(int axis, int64_t dim);
  void erase(int axis);

  bool operator==(const Shape& other) const;

  /// "[2, 3, 4]"
  std::string to_string() const;

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// An index that counts from the end where it is negative, -1 being the last, as one from the beginning. It may be
/// outside 0 ... extent - 1: who takes it says so.
constexpr int64_t from_end(int64_t index, int64_t extent) { return index < 0 ? index + extent : index; }

/// Steps in elements from one index to the next along every axis.
using Strides = Shape;

/// Row-major strides of a contiguous tensor.
Strides contiguous_strides(const Shape& shape);

/// NumPy's rule: axes are aligned at the end, extents are equal or one of them is 1. Throws ShapeError naming `who`.
Shape broadcast_shapes(const Shape& a, const Shape& b, const char* who);

}  // namespace attune
