#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/kernels/copy.h"
#include "framework/kernels/elementwise.h"
#include "framework/math/detail/parts.h"

namespace attune {
namespace {

// part += x
void add_to(Tensor part, const Tensor& x) { kernels::add(part, x, part); }

// All parts defined and of one dtype; pointers to them.
std::vector<const Variable*> check_parts(const char* op, std::span<const Variable> parts) {
  require<ValueError>(!parts.empty(), "{}: no parts given, expected at least one", op);
  std::vector<const Variable*> pointers;
  for (const Variable& part : parts) {
    check_operand(op, "part", part);
    check_same_dtype(op, parts.front(), "part 0", part, "another part");
    pointers.push_back(&part);
  }
  return pointers;
}

}  // namespace

Variable reshape(const Variable& x, const Shape& shape) {
  check_operand("reshape", "x", x);
  require<ShapeError>(shape.numel() == x.numel(), "reshape: x {} holds {} elements, {} holds {}", x.shape(), x.numel(),
                      shape, shape.numel());
  return Tape::current().record("reshape", x.value().reshape(shape), {&x},
                                [shape = x.shape()](Grads& g) { g.add(0, g.take_dy().view(shape)); });
}

Variable reshape(const Variable& x, std::initializer_list<int64_t> shape) {
  check_operand("reshape", "x", x);
  Shape out;
  int free_axis = -1;
  int64_t known = 1;
  for (int64_t extent : shape) {
    if (extent == -1) {
      require<ShapeError>(free_axis < 0, "reshape: [{}] holds -1 twice", fmt::join(shape, ", "));
      free_axis = out.rank();
      extent = 1;
    }
    require<ShapeError>(extent >= 0, "reshape: extent {} in [{}] is negative", extent, fmt::join(shape, ", "));
    known *= extent;
    out.push_back(extent);
  }
  if (free_axis >= 0) {
    require<ShapeError>(known > 0 && x.numel() % known == 0, "reshape: x {} holds {} elements, which do not fill [{}]",
                        x.shape(), x.numel(), fmt::join(shape, ", "));
    out[free_axis] = x.numel() / known;
  }
  return reshape(x, out);
}

Variable permute(const Variable& x, const Axes& axes) {
  check_operand("permute", "x", x);
  require<ShapeError>(static_cast<int>(axes.size()) == x.rank(), "permute: axes [{}] given for shape {}",
                      fmt::join(axes, ", "), x.shape());
  std::array<int, Shape::kMaxRank> inverse{};
  unsigned seen = 0;
  int to = 0;
  for (int axis : axes) {
    const int from = check_axis("permute", x.shape(), axis);
    require<ShapeError>((seen >> from & 1u) == 0, "permute: axes [{}] name an axis of {} twice", fmt::join(axes, ", "),
                        x.shape());
    seen |= 1u << from;
    inverse[static_cast<size_t>(from)] = to++;
  }
  return Tape::current().record("permute", x.value().permute(axes), {&x}, [inverse, rank = x.rank()](Grads& g) {
    g.add(0, g.dy().permute(std::span(inverse.data(), static_cast<size_t>(rank))));
  });
}

Variable transpose(const Variable& x, int axis_a, int axis_b) {
  check_operand("transpose", "x", x);
  const int a = check_axis("transpose", x.shape(), axis_a);
  const int b = check_axis("transpose", x.shape(), axis_b);
  return Tape::current().record("transpose", x.value().transpose(a, b), {&x},
                                [a, b](Grads& g) { g.add(0, g.dy().transpose(a, b)); });
}

Variable unsqueeze(const Variable& x, int axis) {
  check_operand("unsqueeze", "x", x);
  require<ShapeError>(axis >= -x.rank() - 1 && axis <= x.rank(), "unsqueeze: axis {} is outside {} with one more axis",
                      axis, x.shape());
  return Tape::current().record("unsqueeze", x.value().unsqueeze(axis), {&x},
                                [shape = x.shape()](Grads& g) { g.add(0, g.take_dy().view(shape)); });
}

Variable squeeze(const Variable& x, int axis) {
  check_operand("squeeze", "x", x);
  const int at = check_axis("squeeze", x.shape(), axis);
  require<ShapeError>(x.shape()[at] == 1, "squeeze: axis {} of shape {} has extent {}, expected 1", axis, x.shape(),
                      x.shape()[at]);
  return Tape::current().record("squeeze", x.value().squeeze(at), {&x},
                                [shape = x.shape()](Grads& g) { g.add(0, g.take_dy().view(shape)); });
}

Variable flatten(const Variable& x, int first, int last) {
  check_operand("flatten", "x", x);
  return reshape(x, flattened("flatten", x.shape(), first, last));
}

Variable slice(const Variable& x, int axis, int64_t begin, int64_t end, int64_t step) {
  check_operand("slice", "x", x);
  axis = check_axis("slice", x.shape(), axis);
  const int64_t first = from_end(begin, x.shape()[axis]);
  const int64_t last = from_end(end, x.shape()[axis]);
  require<ShapeError>(0 <= first && first <= last && last <= x.shape()[axis],
                      "slice: range {} ... {} is outside axis {} of shape {}", begin, end, axis, x.shape());
  require<ShapeError>(step >= 1, "slice: step {} given, expected at least 1; flip() turns an axis around", step);
  return Tape::current().record(
      "slice", x.value().slice(axis, first, last, step), {&x},
      [axis, first, last, step](Grads& g) { add_to(g.accumulator(0).slice(axis, first, last, step), g.dy()); });
}

Variable select(const Variable& x, int axis, int64_t index) {
  check_operand("select", "x", x);
  axis = check_axis("select", x.shape(), axis);
  const int64_t at = from_end(index, x.shape()[axis]);
  require<ShapeError>(0 <= at && at < x.shape()[axis], "select: index {} is outside axis {} of shape {}", index, axis,
                      x.shape());
  return Tape::current().record("select", x.value().select(axis, at), {&x},
                                [axis, at](Grads& g) { add_to(g.accumulator(0).select(axis, at), g.dy()); });
}

Variable expand(const Variable& x, const Shape& shape) {
  check_operand("expand", "x", x);
  require<ShapeError>(broadcast_shapes(x.shape(), shape, "expand") == shape, "expand: x {} cannot be expanded to {}",
                      x.shape(), shape);
  return Tape::current().record("expand", x.value().expand(shape), {&x},
                                [own = x.shape()](Grads& g) { g.add(0, reduce_to(g.take_dy(), own)); });
}

Variable concat(std::span<const Variable> parts, int axis) {
  const std::vector<const Variable*> inputs = check_parts("concat", parts);
  Shape shape = parts.front().shape();
  axis = check_axis("concat", shape, axis);
  shape[axis] = 0;
  std::vector<int64_t> ends;
  for (const Variable& part : parts) {
    Shape rest = part.shape();
    require<ShapeError>(rest.rank() == shape.rank(), "concat: parts {} and {} differ in rank", parts.front().shape(),
                        part.shape());
    rest[axis] = shape[axis];
    require<ShapeError>(rest == shape, "concat: parts {} and {} differ outside axis {}", parts.front().shape(),
                        part.shape(), axis);
    shape[axis] += part.shape()[axis];
    ends.push_back(shape[axis]);
  }
  Tensor y = Tensor::empty(shape, parts.front().dtype(), parts.front().device());
  for (size_t i = 0; i < parts.size(); ++i) {
    Tensor to = y.slice(axis, i == 0 ? 0 : ends[i - 1], ends[i]);
    kernels::copy(parts[i].value(), to);
  }
  return Tape::current().record_many("concat", {y}, inputs, [ends = std::move(ends), axis](Grads& g) {
    for (size_t i = 0; i < ends.size(); ++i) {
      g.add(static_cast<int>(i), g.dy().slice(axis, i == 0 ? 0 : ends[i - 1], ends[i]));
    }
  })[0];
}

Variable concat(std::initializer_list<Variable> parts, int axis) {
  return concat(std::span(parts.begin(), parts.size()), axis);
}

Variable stack(std::span<const Variable> parts, int axis) {
  const std::vector<const Variable*> inputs = check_parts("stack", parts);
  Shape shape = parts.front().shape();
  const int at = axis < 0 ? axis + shape.rank() + 1 : axis;
  require<ShapeError>(at >= 0 && at <= shape.rank(), "stack: axis {} is outside {} with one more axis", axis, shape);
  for (const Variable& part : parts) {
    require<ShapeError>(part.shape() == shape, "stack: parts {} and {} differ in shape", shape, part.shape());
  }
  shape.insert(at, static_cast<int64_t>(parts.size()));
  Tensor y = Tensor::empty(shape, parts.front().dtype(), parts.front().device());
  for (size_t i = 0; i < parts.size(); ++i) {
    Tensor to = y.select(at, static_cast<int64_t>(i));
    kernels::copy(parts[i].value(), to);
  }
  return Tape::current().record_many("stack", {y}, inputs, [at](Grads& g) {
    for (int64_t i = 0; i < g.dy().dim(at); ++i) g.add(static_cast<int>(i), g.dy().select(at, i));
  })[0];
}

}  // namespace attune
