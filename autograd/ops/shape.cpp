#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/kernels/copy.h"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/index.h"

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

Variable permute(const Variable& x, std::initializer_list<int> axes) {
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

Variable slice(const Variable& x, int axis, int64_t begin, int64_t end) {
  check_operand("slice", "x", x);
  axis = check_axis("slice", x.shape(), axis);
  require<ShapeError>(0 <= begin && begin <= end && end <= x.shape()[axis],
                      "slice: range {} ... {} is outside axis {} of shape {}", begin, end, axis, x.shape());
  return Tape::current().record("slice", x.value().slice(axis, begin, end), {&x}, [axis, begin, end](Grads& g) {
    add_to(g.accumulator(0).slice(axis, begin, end), g.dy());
  });
}

Variable select(const Variable& x, int axis, int64_t index) {
  check_operand("select", "x", x);
  axis = check_axis("select", x.shape(), axis);
  require<ShapeError>(0 <= index && index < x.shape()[axis], "select: index {} is outside axis {} of shape {}", index,
                      axis, x.shape());
  return Tape::current().record("select", x.value().select(axis, index), {&x},
                                [axis, index](Grads& g) { add_to(g.accumulator(0).select(axis, index), g.dy()); });
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

Variable index_select(const Variable& x, int axis, const Tensor& indices) {
  check_operand("index_select", "x", x);
  axis = check_axis("index_select", x.shape(), axis);
  require<ShapeError>(indices.rank() == 1, "index_select: indices have shape {}, expected [n]", indices.shape());
  const Tensor index = check_indices("index_select", "index", indices, x.shape()[axis]).to(x.device());
  Shape shape = x.shape();
  shape[axis] = index.numel();
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  Tensor rows = around_axis(y, axis);
  kernels::take_rows(around_axis(x.value(), axis), index, 1, rows);
  return Tape::current().record("index_select", std::move(y), {&x}, [index = SavedTensor(index), axis](Grads& g) {
    Tensor dx = around_axis(g.accumulator(0), axis);
    kernels::add_rows(around_axis(g.dy(), axis), index.get(), 1, -1, dx);
  });
}

Variable gather(const Variable& x, int axis, const Tensor& indices) {
  check_operand("gather", "x", x);
  axis = check_axis("gather", x.shape(), axis);
  Shape rest = indices.shape();
  if (rest.rank() == x.rank()) rest[axis] = x.shape()[axis];
  require<ShapeError>(rest == x.shape(), "gather: indices {} differ from x {} outside axis {}", indices.shape(),
                      x.shape(), axis);
  const Tensor index = check_indices("gather", "index", indices, x.shape()[axis]).to(x.device());
  Tensor y = Tensor::empty(index.shape(), x.dtype(), x.device());
  Tensor out = around_axis(y, axis);
  kernels::take_along(around_axis(x.value(), axis), around_axis(index, axis), out);
  return Tape::current().record("gather", std::move(y), {&x}, [index = SavedTensor(index), axis](Grads& g) {
    Tensor dx = around_axis(g.accumulator(0), axis);
    kernels::add_along(around_axis(g.dy(), axis), around_axis(index.get(), axis), dx);
  });
}

}  // namespace attune
