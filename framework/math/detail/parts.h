#pragma once

// For .cpp files: shapes of what is split, joined and padded, for tensors and Variables alike.

#include <cstdint>
#include <span>
#include <vector>

#include "framework/math/rearrange.h"

namespace attune {

/// The parts into which an axis is split.
struct PartSizes {
  int axis;
  std::vector<int64_t> ends;

  /// Throws ShapeError where the sizes do not add up to the axis.
  PartSizes(const char* op, const Shape& shape, int axis, std::span<const int64_t> sizes);

  size_t count() const { return ends.size(); }
  int64_t begin(size_t part) const { return part == 0 ? 0 : ends[part - 1]; }
  int64_t end(size_t part) const { return ends[part]; }
};

/// Parts of `size`, the last one of what is left; one empty part of nothing. Throws ValueError for a size below 1.
std::vector<int64_t> sizes_of(int64_t extent, int64_t size);
/// At most `count` parts of equal size. Throws ValueError for a count below 1.
std::vector<int64_t> sizes_of_chunks(int64_t extent, int64_t count);

/// `shape` with axes first ... last as one.
Shape flattened(const char* op, const Shape& shape, int first, int last);

/// `shape` with what stands around it.
Shape padded_shape(const char* op, const Shape& shape, std::span<const PadWidth> widths);

}  // namespace attune
