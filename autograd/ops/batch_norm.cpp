#include "autograd/ops/batch_norm.h"

#include <utility>

#include "autograd/ops/checks.h"
#include "autograd/tape.h"
#include "framework/kernels/batch_norm.h"

namespace attune {
namespace {

Tensor rows_of(const Tensor& x) { return x.view({x.numel() / x.dim(-1), x.dim(-1)}); }

}  // namespace

BatchNormResult batch_norm(const Variable& x, const Variable& gain, const Variable& shift, double eps) {
  check_operand("batch_norm", "x", x);
  require<ShapeError>(x.rank() >= 2 && x.dim(-1) > 0, "batch_norm: x has shape {}, expected [..., C]", x.shape());
  const Shape wanted{x.dim(-1)};
  require<ShapeError>(gain.shape() == wanted && shift.shape() == wanted,
                      "batch_norm: gain has shape {} and shift {}, expected {} for x {}", gain.shape(), shift.shape(),
                      wanted, x.shape());
  check_same_dtype("batch_norm", x, "x", gain, "gain");
  check_same_dtype("batch_norm", x, "x", shift, "shift");
  require<ValueError>(eps > 0, "batch_norm: eps is {}, expected a positive number", eps);
  require<ShapeError>(x.numel() > 0, "batch_norm: x has shape {}: an empty batch has no statistics", x.shape());
  const Tensor in = rows_of(x.value().contiguous());
  const Tensor scale = gain.value().contiguous();
  Tensor stats = Tensor::empty({3, x.dim(-1)}, accumulation_dtype(in.dtype()), in.device());
  kernels::batch_statistics(in, eps, stats);
  Tensor y = Tensor::empty(x.shape(), in.dtype(), in.device());
  Tensor flat = rows_of(y);
  kernels::batch_norm(in, stats, scale, shift.value().contiguous(), flat);
  BatchNormResult result;
  result.mean = stats.select(0, 0);
  result.variance = stats.select(0, 2);
  result.output = Tape::current().record(
      "batch_norm", std::move(y), {&x, &gain, &shift},
      [in = SavedTensor(in), stats = SavedTensor(stats), scale = SavedTensor(scale), shape = x.shape()](Grads& g) {
        Tensor dx;
        if (g.needs(0)) dx = Tensor::empty_like(in.get());
        Tensor dgain = Tensor::empty_like(scale.get());
        Tensor dshift = Tensor::empty_like(scale.get());
        kernels::batch_norm_backward(rows_of(g.dy()), in.get(), stats.get(), scale.get(), dx, dgain, dshift);
        if (dx.defined()) g.add(0, dx.view(shape));
        g.add(1, std::move(dgain));
        g.add(2, std::move(dshift));
      });
  return result;
}

}  // namespace attune
