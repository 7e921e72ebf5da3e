#include "framework/shape.h"

#include <algorithm>

#include "framework/fail.h"

namespace attune {

Shape::Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  require<ShapeError>(dims.size() <= kMaxRank, "Shape: {} dimensions given, at most {} are supported", dims.size(),
                      kMaxRank);
  std::copy(dims.begin(), dims.end(), dims_.begin());
  for (int64_t dim : dims) {
    require<ShapeError>(dim >= 0, "Shape: dimension {} in {} is negative", dim, *this);
  }
}

int64_t Shape::numel() const {
  int64_t n = 1;
  bool overflow = false;
  for (int64_t dim : *this) overflow |= __builtin_mul_overflow(n, dim, &n);
  if (!overflow) [[likely]]
    return n;
  if (std::find(begin(), end(), 0) != end()) return 0;
  fail<ShapeError>("Shape: {} has more elements than can be counted, at most 2^63 - 1", *this);
}

int Shape::axis(int axis) const {
  const int positive = axis < 0 ? axis + rank_ : axis;
  require<ShapeError>(positive >= 0 && positive < rank_, "axis {} is outside shape {} of rank {}", axis, *this, rank_);
  return positive;
}

void Shape::push_back(int64_t dim) { insert(rank_, dim); }

void Shape::insert(int axis, int64_t dim) {
  require<ShapeError>(rank_ < kMaxRank, "Shape: {} has {} dimensions already, at most {} are supported", *this, rank_,
                      kMaxRank);
  std::copy_backward(dims_.begin() + axis, dims_.begin() + rank_, dims_.begin() + rank_ + 1);
  dims_[static_cast<size_t>(axis)] = dim;
  ++rank_;
}

void Shape::erase(int axis) {
  std::copy(dims_.begin() + axis + 1, dims_.begin() + rank_, dims_.begin() + axis);
  --rank_;
}

bool Shape::operator==(const Shape& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

std::string Shape::to_string() const { return fmt::format("[{}]", fmt::join(begin(), end(), ", ")); }

Strides contiguous_strides(const Shape& shape) {
  Strides strides = shape;
  int64_t step = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[axis] = step;
    step *= shape[axis];
  }
  return strides;
}

Shape broadcast_shapes(const Shape& a, const Shape& b, const char* who) {
  Shape out = a.rank() >= b.rank() ? a : b;
  for (int back = 1; back <= out.rank(); ++back) {
    const int64_t x = back <= a.rank() ? a[a.rank() - back] : 1;
    const int64_t y = back <= b.rank() ? b[b.rank() - back] : 1;
    require<ShapeError>(
        x == y || x == 1 || y == 1,
        "{}: shapes {} and {} do not broadcast: axis -{} has {} and {}; make them equal or one of them 1", who, a, b,
        back, x, y);
    out[out.rank() - back] = x == 1 ? y : x;
  }
  return out;
}

}  // namespace attune
