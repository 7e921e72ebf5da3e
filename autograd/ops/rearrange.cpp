#include "framework/math/rearrange.h"

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/math/detail/parts.h"

namespace attune {

std::vector<Variable> split(const Variable& x, std::span<const int64_t> sizes, int axis) {
  check_operand("split", "x", x);
  const PartSizes parts("split", x.shape(), axis, sizes);
  std::vector<Variable> out;
  for (size_t i = 0; i < parts.count(); ++i) out.push_back(slice(x, parts.axis, parts.begin(i), parts.end(i)));
  return out;
}

std::vector<Variable> split(const Variable& x, std::initializer_list<int64_t> sizes, int axis) {
  return split(x, std::span(sizes.begin(), sizes.size()), axis);
}

std::vector<Variable> split(const Variable& x, int64_t size, int axis) {
  check_operand("split", "x", x);
  return split(x, sizes_of(x.shape()[check_axis("split", x.shape(), axis)], size), axis);
}

std::vector<Variable> chunk(const Variable& x, int64_t count, int axis) {
  check_operand("chunk", "x", x);
  return split(x, sizes_of_chunks(x.shape()[check_axis("chunk", x.shape(), axis)], count), axis);
}

Variable flip(const Variable& x, const Axes& axes) {
  check_operand("flip", "x", x);
  return Tape::current().record("flip", flip(x.value(), axes), {&x},
                                [axes](Grads& g) { g.add(0, flip(g.dy(), axes)); });
}

Variable tile(const Variable& x, std::span<const int64_t> repeats) {
  check_operand("tile", "x", x);
  Variable y = x;
  while (y.rank() < static_cast<int>(repeats.size())) y = unsqueeze(y, 0);
  for (size_t i = 0; i < repeats.size(); ++i) {
    require<ValueError>(repeats[i] >= 0, "tile: {} repeats given, expected 0 or more", repeats[i]);
    if (repeats[i] == 1) continue;
    const int axis = y.rank() - static_cast<int>(repeats.size() - i);
    Shape repeated = y.shape();
    repeated.insert(axis, repeats[i]);
    Shape joined = y.shape();
    joined[axis] *= repeats[i];
    y = reshape(expand(unsqueeze(y, axis), repeated), joined);
  }
  return y;
}

Variable tile(const Variable& x, std::initializer_list<int64_t> repeats) {
  return tile(x, std::span(repeats.begin(), repeats.size()));
}

Variable pad(const Variable& x, std::span<const PadWidth> widths, double value) {
  check_operand("pad", "x", x);
  Tensor y = pad(x.value(), widths, value);
  return Tape::current().record(
      "pad", std::move(y), {&x},
      [widths = std::vector<PadWidth>(widths.begin(), widths.end()), shape = x.shape()](Grads& g) {
        Tensor dx = g.dy();
        for (int axis = 0; axis < shape.rank(); ++axis) {
          const int64_t before = widths[static_cast<size_t>(axis)].first;
          dx = dx.slice(axis, before, before + shape[axis]);
        }
        g.add(0, std::move(dx));
      });
}

Variable pad(const Variable& x, std::initializer_list<PadWidth> widths, double value) {
  return pad(x, std::span(widths.begin(), widths.size()), value);
}

Variable tril(const Variable& x, int64_t diagonal) {
  check_operand("tril", "x", x);
  return Tape::current().record("tril", tril(x.value(), diagonal), {&x},
                                [diagonal](Grads& g) { g.add(0, tril(g.dy(), diagonal)); });
}

Variable triu(const Variable& x, int64_t diagonal) {
  check_operand("triu", "x", x);
  return Tape::current().record("triu", triu(x.value(), diagonal), {&x},
                                [diagonal](Grads& g) { g.add(0, triu(g.dy(), diagonal)); });
}

}  // namespace attune
