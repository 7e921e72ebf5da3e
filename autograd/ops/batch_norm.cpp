#include "autograd/ops/batch_norm.h"

#include <utility>

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/kernels/batch_norm.h"

namespace attune {
namespace {

Tensor rows_of(const Tensor& x) { return x.view({x.numel() / x.dim(-1), x.dim(-1)}); }

void check_batch_norm(const char* op, const Variable& x, const Variable& gain, const Variable& shift, double eps) {
  check_operand(op, "x", x);
  require<ShapeError>(x.rank() >= 2 && x.dim(-1) > 0, "{}: x has shape {}, expected [..., C]", op, x.shape());
  const Shape wanted{x.dim(-1)};
  require<ShapeError>(gain.shape() == wanted && shift.shape() == wanted,
                      "{}: gain has shape {} and shift {}, expected {} for x {}", op, gain.shape(), shift.shape(),
                      wanted, x.shape());
  check_same_dtype(op, x, "x", gain, "gain");
  check_same_dtype(op, x, "x", shift, "shift");
  require<ValueError>(eps > 0, "{}: eps is {}, expected a positive number", op, eps);
  require<ShapeError>(x.numel() > 0, "{}: x has shape {}: an empty batch has no statistics", op, x.shape());
}

Tensor normalised_by(const Tensor& x, const Tensor& stats, const Tensor& gain, const Tensor& shift) {
  Tensor y = Tensor::empty_like(x);
  Tensor rows = rows_of(y);
  kernels::batch_norm(rows_of(x), stats, gain, shift, rows);
  return y;
}

}  // namespace

BatchNormResult batch_norm(const Variable& x, const Variable& gain, const Variable& shift, double eps) {
  if (is_rounded_for(x, gain)) return batch_norm(x, parameter_for(x, gain), parameter_for(x, shift), eps);
  check_batch_norm("batch_norm", x, gain, shift, eps);
  const Tensor in = x.value().contiguous();
  const Tensor scale = gain.value().contiguous();
  Tensor stats = Tensor::empty({4, x.dim(-1)}, accumulation_dtype(in.dtype()), in.device());
  kernels::batch_statistics(rows_of(in), eps, stats);
  BatchNormResult result;
  result.mean = stats.select(0, 0);
  result.variance = stats.select(0, 2);
  result.output = Tape::current().record(
      "batch_norm", normalised_by(in, stats, scale, shift.value().contiguous()), {&x, &gain, &shift},
      [in = SavedTensor(in), stats = SavedTensor(stats), scale = SavedTensor(scale)](Grads& g) {
        Tensor dx, rows;
        if (g.needs(0)) {
          dx = Tensor::empty_like(in.get());
          rows = rows_of(dx);
        }
        Tensor dgain = Tensor::empty_like(scale.get());
        Tensor dshift = Tensor::empty_like(scale.get());
        kernels::batch_norm_backward(rows_of(g.dy()), rows_of(in.get()), stats.get(), scale.get(), rows, dgain, dshift);
        if (dx.defined()) g.add(0, std::move(dx));
        g.add(1, std::move(dgain));
        g.add(2, std::move(dshift));
      });
  return result;
}

Variable batch_norm_by(const Variable& x, const Tensor& mean, const Tensor& variance, const Variable& gain,
                       const Variable& shift, double eps) {
  if (is_rounded_for(x, gain)) {
    return batch_norm_by(x, mean, variance, parameter_for(x, gain), parameter_for(x, shift), eps);
  }
  check_batch_norm("batch_norm_by", x, gain, shift, eps);
  const Shape wanted{x.dim(-1)};
  require<ShapeError>(mean.shape() == wanted && variance.shape() == wanted,
                      "batch_norm_by: mean has shape {} and variance {}, expected {} for x {}", mean.shape(),
                      variance.shape(), wanted, x.shape());
  const Tensor in = x.value().contiguous();
  const Tensor scale = gain.value().contiguous();
  Tensor stats = Tensor::empty({4, x.dim(-1)}, accumulation_dtype(in.dtype()), in.device());
  {
    const NoGrad values_only;
    const Variable one(Tensor::full(wanted, 1, stats.dtype(), stats.device()));
    stats.select(0, 0).copy_(mean);
    stats.select(0, 1).copy_((one / sqrt(Variable(variance.to(stats.dtype())) + eps)).value());
    stats.select(0, 2).copy_(variance);
    stats.select(0, 3).zero_();
  }
  return Tape::current().record(
      "batch_norm_by", normalised_by(in, stats, scale, shift.value().contiguous()), {&x, &gain, &shift},
      [in = SavedTensor(in), stats = SavedTensor(stats), scale = SavedTensor(scale)](Grads& g) {
        if (g.needs(0)) {
          // dx = dy rstd gain: what the statistics make of dy without a mean.
          Tensor slopes = stats.get().clone();
          slopes.select(0, 0).zero_();
          g.add(0, normalised_by(g.dy(), slopes, scale.get(), Tensor::zeros_like(scale.get())));
        }
        Tensor dx;
        Tensor dgain = Tensor::empty_like(scale.get());
        Tensor dshift = Tensor::empty_like(scale.get());
        kernels::batch_norm_backward(rows_of(g.dy()), rows_of(in.get()), stats.get(), scale.get(), dx, dgain, dshift);
        g.add(1, std::move(dgain));
        g.add(2, std::move(dshift));
      });
}

}  // namespace attune
