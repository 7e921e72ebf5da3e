#include "framework/kernels/reduce.h"

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/fold.h"
#include "framework/kernels/index.h"
#include "framework/math/arithmetic.h"
#include "framework/math/compare.h"
#include "framework/math/create.h"
#include "framework/math/reduce.h"

namespace attune {
namespace {

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

using ExtremeKernel = Kernel<const Tensor&, Tensor&, Tensor&>;

// The gradient goes to where the first largest, or smallest, element is.
Variable extreme_of(const char* op, const Variable& x, const Axes& axes, bool keep, const ExtremeKernel& kernel) {
  check_operand(op, "x", x);
  const Reduced shapes(op, x.shape(), axes);
  shapes.require_elements(op, "largest or smallest element");
  const Tensor in = shapes.grouped(x.value());
  const Shape reduced{in.dim(0), 1, in.dim(2)};
  Tensor best = Tensor::empty(reduced, x.dtype(), x.device());
  Tensor index = Tensor::empty(reduced, DType::kInt64, x.device());
  if (best.numel() > 0) kernel(in, best, index);
  return Tape::current().record(op, best.view(shapes.result(keep)), {&x},
                                [index = std::move(index), shapes, groups = in.shape()](Grads& g) {
                                  const Tensor dy = g.dy().view(index.shape());
                                  if (shapes.neighbours) {
                                    Tensor dx = g.accumulator(0).view(groups);
                                    kernels::add_along(dy, index, dx);
                                  } else {
                                    Tensor dx = Tensor::zeros(groups, dy.dtype(), dy.device());
                                    kernels::add_along(dy, index, dx);
                                    g.add(0, shapes.ungrouped(dx));
                                  }
                                });
}

// y[o, i, k] = the product of x[o, :, k] without element i; x: [outer, n, inner]. Right where elements are 0 too.
Tensor product_of_others(const Tensor& x) {
  const int64_t n = x.dim(1);
  Tensor before = Tensor::empty(x.shape(), x.dtype(), x.device());
  Tensor behind = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::cumulate(x, /*product=*/true, /*reverse=*/false, before);
  kernels::cumulate(x, /*product=*/true, /*reverse=*/true, behind);
  Tensor others = ones_like(x);
  if (n < 2) return others;
  others.slice(1, 1, n).copy_(before.slice(1, 0, n - 1));
  Tensor front = others.slice(1, 0, n - 1);
  front *= behind.slice(1, 1, n);
  return others;
}

// dy of a reduction, for every element that was reduced.
Tensor repeated(const Tensor& dy, const Reduced& shapes) {
  return dy.view(shapes.kept).expand(shapes.shape).contiguous();
}

Variable variance_of(const char* op, const Variable& x, const Axes& axes, bool keep, int64_t correction) {
  check_operand(op, "x", x);
  const Reduced shapes(op, x.shape(), axes);
  shapes.require_variance(op, correction);
  const Variable centered = x - mean(x, axes, /*keep=*/true);
  return sum(square(centered), axes, keep) / static_cast<double>(shapes.count - correction);
}

}  // namespace

Variable sum(const Variable& x, const Axes& axes, bool keep) {
  check_operand("sum", "x", x);
  return scaled_sum("sum", x, Reduced("sum", x.shape(), axes), 1, keep);
}

Variable mean(const Variable& x, const Axes& axes, bool keep) {
  check_operand("mean", "x", x);
  const Reduced shapes("mean", x.shape(), axes);
  shapes.require_elements("mean", "mean");
  return scaled_sum("mean", x, shapes, 1.0 / static_cast<double>(shapes.count), keep);
}

Variable prod(const Variable& x, const Axes& axes, bool keep) {
  check_operand("prod", "x", x);
  const Reduced shapes("prod", x.shape(), axes);
  return Tape::current().record(
      "prod", prod(x.value(), axes, keep), {&x}, [kept = SavedTensor(x.value()), shapes](Grads& g) {
        const Tensor others = product_of_others(shapes.grouped(kept.get()));
        const Tensor dy = g.dy().view({others.dim(0), 1, others.dim(2)}).expand(others.shape());
        g.add(0, shapes.ungrouped(chained(dy.contiguous(), others)));
      });
}

Variable max(const Variable& x, const Axes& axes, bool keep) { return extreme_of("max", x, axes, keep, kernels::max); }
Variable min(const Variable& x, const Axes& axes, bool keep) { return extreme_of("min", x, axes, keep, kernels::min); }

Variable var(const Variable& x, const Axes& axes, bool keep, int64_t correction) {
  return variance_of("var", x, axes, keep, correction);
}

Variable stddev(const Variable& x, const Axes& axes, bool keep, int64_t correction) {
  return sqrt(variance_of("stddev", x, axes, keep, correction));
}

Variable norm(const Variable& x, const Axes& axes, bool keep) {
  check_operand("norm", "x", x);
  const Reduced shapes("norm", x.shape(), axes);
  Tensor y = norm(x.value(), axes, keep);
  const SavedTensor kept(y);
  return Tape::current().record("norm", std::move(y), {&x}, [in = SavedTensor(x.value()), kept, shapes](Grads& g) {
    // y = |x|, dx = dy x / y
    const Tensor length = kept.get().view(shapes.kept);
    const Tensor slope = where(length == 0, 0, in.get() / length);
    g.add(0, chained(repeated(g.dy(), shapes), slope));
  });
}

Variable logsumexp(const Variable& x, const Axes& axes, bool keep) {
  check_operand("logsumexp", "x", x);
  const Reduced shapes("logsumexp", x.shape(), axes);
  Tensor y = logsumexp(x.value(), axes, keep);
  const SavedTensor kept(y);
  return Tape::current().record("logsumexp", std::move(y), {&x}, [in = SavedTensor(x.value()), kept, shapes](Grads& g) {
    // y = log sum exp(x), dx = dy exp(x - y)
    const Tensor total = kept.get().view(shapes.kept);
    const Tensor slope = exp(in.get() - where(isinf(total), 0, total));
    g.add(0, chained(repeated(g.dy(), shapes), slope));
  });
}

Variable cumsum(const Variable& x, int axis) {
  check_operand("cumsum", "x", x);
  axis = check_axis("cumsum", x.shape(), axis);
  return Tape::current().record("cumsum", cumsum(x.value(), axis), {&x}, [axis](Grads& g) {
    const Tensor groups = around_axis(g.dy(), axis);
    Tensor dx = Tensor::empty_like(groups);
    kernels::cumulate(groups, /*product=*/false, /*reverse=*/true, dx);
    g.add(0, dx.view(g.dy().shape()));
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
