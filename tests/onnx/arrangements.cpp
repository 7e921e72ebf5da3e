// Shapes, and other arrangements of the same elements.

#include <algorithm>
#include <numeric>

#include "tests/onnx/case.h"

namespace attune::onnx {
namespace {

Ways reshaped(const Case& c) {
  // A 0 keeps an extent, -1 is what is left: both are known here.
  auto extents = c.in(1).to_vector<int64_t>();
  int64_t others = 1;
  for (size_t i = 0; i < extents.size(); ++i) {
    if (extents[i] == 0 && c.integer("allowzero", 0) == 0) extents[i] = c.in(0).dim(static_cast<int>(i));
    if (extents[i] >= 0) others *= extents[i];
  }
  for (int64_t& extent : extents) {
    if (extent < 0) extent = c.in(0).numel() / others;
  }
  const Shape shape{std::span<const int64_t>(extents)};
  return {{c.in(0).reshape(shape)}, {reshape(c.var(0), shape).value()}};
}

Ways flattened(const Case& c) {
  const Tensor& x = c.inputs[0];
  int axis = static_cast<int>(c.integer("axis", 1));
  if (axis < 0) axis += x.rank();
  if (axis == 0) return {{flatten(x).unsqueeze(0)}};
  return {{flatten(flatten(x, axis), 0, axis - 1)}};
}

Ways expanded(const Case& c) {
  const Shape shape = broadcast_shapes(c.in(0).shape(), to_shape(c.in(1)), "Expand");
  return {{c.in(0).expand(shape)}, {expand(c.var(0), shape).value()}};
}

Ways joined(const Case& c) {
  const int axis = static_cast<int>(c.integer("axis", 0));
  std::vector<Variable> parts;
  for (const Tensor& x : c.inputs) parts.emplace_back(x);
  return {{concat(c.inputs, axis)}, {concat(parts, axis).value()}};
}

Ways parts_of(const Case& c) {
  const int axis = static_cast<int>(c.integer("axis", 0));
  if (c.in(1).defined()) return {split(c.in(0), c.in(1).to_vector<int64_t>(), axis)};
  const auto count = static_cast<int64_t>(c.outputs.size());
  const int64_t size = (c.in(0).dim(axis) + count - 1) / count;
  return {split(c.in(0), size, axis)};
}

Ways sliced(const Case& c) {
  Tensor y = c.in(0);
  const auto begins = c.in(1).to_vector<int64_t>();
  const auto ends = c.in(2).to_vector<int64_t>();
  std::vector<int> axes(begins.size());
  std::iota(axes.begin(), axes.end(), 0);
  if (c.in(3).defined()) axes = to_axes(c.in(3));
  std::vector<int64_t> steps(begins.size(), 1);
  if (c.in(4).defined()) steps = c.in(4).to_vector<int64_t>();
  for (size_t i = 0; i < axes.size(); ++i) {
    // ONNX cuts what lies outside; steps backwards are steps through the axis turned around.
    const int64_t extent = y.dim(axes[i]);
    int64_t begin = begins[i] < 0 ? begins[i] + extent : begins[i];
    int64_t end = ends[i] < 0 ? ends[i] + extent : ends[i];
    if (steps[i] < 0) {
      begin = extent - 1 - std::clamp<int64_t>(begin, 0, extent - 1);
      end = extent - 1 - std::clamp<int64_t>(end, -1, extent - 1);
      y = flip(y, axes[i]);
    }
    begin = std::clamp<int64_t>(begin, 0, extent);
    end = std::clamp<int64_t>(end, begin, extent);
    y = y.slice(axes[i], begin, end, std::abs(steps[i]));
  }
  return {{y}};
}

Ways squeezed(const Case& c) {
  std::vector<int> axes = to_axes(c.in(1));
  for (int& axis : axes) axis = c.in(0).shape().axis(axis);
  std::sort(axes.rbegin(), axes.rend());
  Variable y = c.var(0);
  for (const int axis : axes) y = squeeze(y, axis);
  return {{y.value()}};
}

Ways unsqueezed(const Case& c) {
  std::vector<int> axes = to_axes(c.in(1));
  const int rank = c.in(0).rank() + static_cast<int>(axes.size());
  for (int& axis : axes) axis += axis < 0 ? rank : 0;
  std::sort(axes.begin(), axes.end());
  Variable y = c.var(0);
  for (const int axis : axes) y = unsqueeze(y, axis);
  return {{y.value()}};
}

Ways permuted(const Case& c) {
  std::vector<int> axes(static_cast<size_t>(c.in(0).rank()));
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int>(axes.size() - 1 - i);
  axes = c.attributes.value("perm", axes);
  return {{c.in(0).permute(axes)}, {permute(c.var(0), axes).value()}};
}

Ways tiled(const Case& c) {
  const auto repeats = c.in(1).to_vector<int64_t>();
  return {{tile(c.in(0), repeats)}, {tile(c.var(0), repeats).value()}};
}

/// The index of the picture's element that stands at `index` in front of or behind an axis of `extent`.
int64_t inside(int64_t index, int64_t extent, const std::string& mode) {
  if (mode == "edge") return std::clamp<int64_t>(index, 0, extent - 1);
  if (mode == "wrap") return ((index % extent) + extent) % extent;
  const int64_t period = std::max<int64_t>(2 * (extent - 1), 1);
  const int64_t at = ((index % period) + period) % period;
  return std::min(at, period - at);
}

Ways padded(const Case& c) {
  Tensor y = c.in(0);
  const auto pads = c.in(1).to_vector<int64_t>();
  std::vector<int> axes(pads.size() / 2);
  std::iota(axes.begin(), axes.end(), 0);
  if (c.in(3).defined()) axes = to_axes(c.in(3));
  std::vector<PadWidth> widths(static_cast<size_t>(y.rank()));
  for (size_t i = 0; i < axes.size(); ++i) {
    widths[static_cast<size_t>(y.shape().axis(axes[i]))] = {pads[i], pads[i + axes.size()]};
  }
  const std::string mode = c.text("mode", "constant");
  if (mode == "constant") {
    const double value = c.in(2).defined() ? c.in(2).item() : 0;
    return {{pad(y, widths, value)}, {pad(c.var(0), widths, value).value()}};
  }
  for (int axis = 0; axis < y.rank(); ++axis) {
    const auto [before, behind] = widths[static_cast<size_t>(axis)];
    std::vector<int64_t> indices;
    for (int64_t i = -before; i < y.dim(axis) + behind; ++i) indices.push_back(inside(i, y.dim(axis), mode));
    y = index_select(y, axis, Tensor::from(indices, {static_cast<int64_t>(indices.size())}));
  }
  return {{y}};
}

Ways triangle(const Case& c) {
  const int64_t diagonal = c.in(1).defined() ? static_cast<int64_t>(c.in(1).item()) : 0;
  return {{c.integer("upper", 1) != 0 ? triu(c.in(0), diagonal) : tril(c.in(0), diagonal)}};
}

Ways range(const Case& c) {
  const auto at = [&](size_t i) { return c.in(i).item(); };
  if (c.integers) {
    const auto whole = [&](size_t i) { return static_cast<int64_t>(at(i)); };
    return {{arange(whole(0), whole(1), whole(2))}};
  }
  return {{arange(at(0), at(1), at(2)).to(c.in(0).dtype())}};
}

}  // namespace

void add_arrangements(Operators& ops) {
  ops["Reshape"] = reshaped;
  ops["Flatten"] = flattened;
  ops["Expand"] = expanded;
  ops["Concat"] = joined;
  ops["Split"] = parts_of;
  ops["Slice"] = sliced;
  ops["Squeeze"] = squeezed;
  ops["Unsqueeze"] = unsqueezed;
  ops["Transpose"] = permuted;
  ops["Tile"] = tiled;
  ops["Pad"] = padded;
  ops["Trilu"] = triangle;
  ops["Range"] = range;
}

}  // namespace attune::onnx
