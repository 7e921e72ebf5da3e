#include "framework/math/detail/parts.h"

#include <algorithm>

#include "framework/math/detail/checks.h"

namespace attune {

PartSizes::PartSizes(const char* op, const Shape& shape, int given_axis, std::span<const int64_t> sizes)
    : axis(check_axis(op, shape, given_axis)) {
  int64_t end = 0;
  for (const int64_t size : sizes) {
    require<ShapeError>(size >= 0 && size <= shape[axis] - end,
                        "{}: sizes [{}] do not fill axis {} of shape {}, expected a sum of {}", op,
                        fmt::join(sizes, ", "), given_axis, shape, shape[axis]);
    ends.push_back(end += size);
  }
  require<ShapeError>(end == shape[axis], "{}: sizes [{}] do not fill axis {} of shape {}, expected a sum of {}", op,
                      fmt::join(sizes, ", "), given_axis, shape, shape[axis]);
}

std::vector<int64_t> sizes_of(int64_t extent, int64_t size) {
  require<ValueError>(size >= 1, "split: size {} given, expected at least 1", size);
  std::vector<int64_t> sizes;
  do {
    sizes.push_back(std::min(size, extent));
    extent -= sizes.back();
  } while (extent > 0);
  return sizes;
}

std::vector<int64_t> sizes_of_chunks(int64_t extent, int64_t count) {
  require<ValueError>(count >= 1, "chunk: {} chunks asked for, expected at least 1", count);
  const int64_t size = extent / count + (extent % count != 0 ? 1 : 0);
  return sizes_of(extent, std::max<int64_t>(1, size));
}

Shape flattened(const char* op, const Shape& shape, int first, int last) {
  if (shape.rank() == 0) return {1};
  const int begin = check_axis(op, shape, first);
  const int end = check_axis(op, shape, last);
  require<ShapeError>(begin <= end, "{}: axes {} ... {} of shape {} are not in order", op, first, last, shape);
  Shape out;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (axis > begin && axis <= end) {
      out[begin] *= shape[axis];
    } else {
      out.push_back(shape[axis]);
    }
  }
  return out;
}

Shape padded_shape(const char* op, const Shape& shape, std::span<const PadWidth> widths) {
  require<ShapeError>(static_cast<int>(widths.size()) == shape.rank(),
                      "{}: {} pairs given for shape {}, expected one for each of {} axes", op, widths.size(), shape,
                      shape.rank());
  Shape out = shape;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const auto [before, behind] = widths[static_cast<size_t>(axis)];
    require<ValueError>(before >= 0 && behind >= 0,
                        "{}: {} and {} elements around axis {}, expected 0 or more; slice()"
                        " takes some away",
                        op, before, behind, axis);
    out[axis] += before + behind;
  }
  return out;
}

}  // namespace attune
