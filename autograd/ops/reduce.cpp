#include "framework/kernels/reduce.h"

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/index.h"

namespace attune {
namespace {

// The shape after reducing `axes` (all when empty), with reduced extents 1, and without them.
struct Reduced {
  Shape kept;
  Shape dropped;

  Reduced(const char* op, const Shape& shape, std::initializer_list<int> axes) : kept(shape) {
    unsigned chosen = axes.size() == 0 ? ~0u : 0u;
    for (int axis : axes) {
      const unsigned bit = 1u << check_axis(op, shape, axis);
      require<ShapeError>((chosen & bit) == 0, "{}: axis {} of shape {} is given twice", op, axis, shape);
      chosen |= bit;
    }
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if ((chosen >> axis & 1u) != 0) {
        kept[axis] = 1;
      } else {
        dropped.push_back(shape[axis]);
      }
    }
  }
};

Tensor scaled(const Tensor& x, double factor) {
  if (factor == 1) return x;
  Tensor out = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::affine(x, factor, 0, out);
  return out;
}

// y = factor * sum of x over the axes; dx = factor * dy, repeated.
Variable scaled_sum(const char* op, const Variable& x, const Reduced& shapes, double factor, bool keep) {
  Tensor total = Tensor::empty(shapes.kept, x.dtype(), x.device());
  kernels::sum_to(x.value(), total);
  Tensor y = scaled(total, factor).view(keep ? shapes.kept : shapes.dropped);
  return Tape::current().record(op, std::move(y), {&x}, [kept = shapes.kept, shape = x.shape(), factor](Grads& g) {
    g.add(0, scaled(g.dy(), factor).view(kept).expand(shape));
  });
}

}  // namespace

Variable sum(const Variable& x, std::initializer_list<int> axes, bool keep) {
  check_operand("sum", "x", x);
  return scaled_sum("sum", x, Reduced("sum", x.shape(), axes), 1, keep);
}

Variable mean(const Variable& x, std::initializer_list<int> axes, bool keep) {
  check_operand("mean", "x", x);
  const Reduced shapes("mean", x.shape(), axes);
  int64_t count = 1;
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (shapes.kept[axis] != x.shape()[axis]) count *= x.shape()[axis];
  }
  return scaled_sum("mean", x, shapes, 1.0 / static_cast<double>(count), keep);
}

Variable max(const Variable& x, int axis, bool keep) {
  check_operand("max", "x", x);
  axis = check_axis("max", x.shape(), axis);
  require<ShapeError>(x.shape()[axis] > 0, "max: axis {} of shape {} is empty; it has no largest element", axis,
                      x.shape());
  const Tensor in = around_axis(x.value(), axis);
  const Shape reduced{in.dim(0), 1, in.dim(2)};
  Tensor largest = Tensor::empty(reduced, x.dtype(), x.device());
  Tensor index = Tensor::empty(reduced, DType::kInt64, x.device());
  kernels::max(in, largest, index);
  Shape shape = x.shape();
  if (keep) {
    shape[axis] = 1;
  } else {
    shape.erase(axis);
  }
  return Tape::current().record("max", largest.view(shape), {&x}, [index = std::move(index), axis](Grads& g) {
    Tensor dx = around_axis(g.accumulator(0), axis);
    kernels::add_along(g.dy().view(index.shape()), index, dx);
  });
}

Variable masked_mean(const Variable& x, const Tensor& lengths) {
  check_operand("masked_mean", "x", x);
  require<ShapeError>(x.rank() == 3, "masked_mean: x has shape {}, expected [B, T, D]", x.shape());
  require<ShapeError>(lengths.defined() && lengths.shape() == Shape{x.dim(0)},
                      "masked_mean: lengths have shape {}, expected [{}] for x {}", lengths.shape(), x.dim(0),
                      x.shape());
  const Tensor counts = check_indices("masked_mean", "length", lengths, x.dim(1) + 1).to(x.device());
  Tensor y = Tensor::empty({x.dim(0), x.dim(2)}, x.dtype(), x.device());
  kernels::masked_mean(x.value(), counts, y);
  return Tape::current().record("masked_mean", std::move(y), {&x},
                                [counts = SavedTensor(counts), shape = x.shape()](Grads& g) {
                                  Tensor dx = Tensor::empty(shape, g.dy().dtype(), g.dy().device());
                                  kernels::masked_mean_backward(g.dy(), counts.get(), dx);
                                  g.add(0, std::move(dx));
                                });
}

}  // namespace attune
