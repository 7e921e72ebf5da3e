#include "framework/kernels/norm.h"

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/kernels/random.h"

namespace attune {
namespace {

void check_affine(const char* op, const Variable& x, const Variable& gain, const Variable& shift, double eps) {
  require<ShapeError>(x.rank() >= 1, "{}: x has shape {}, expected at least one axis", op, x.shape());
  const Shape wanted{x.dim(-1)};
  require<ShapeError>(gain.shape() == wanted, "{}: gain has shape {}, expected {} for x {}", op, gain.shape(), wanted,
                      x.shape());
  require<ShapeError>(!shift.defined() || shift.shape() == wanted, "{}: shift has shape {}, expected {} for x {}", op,
                      shift.shape(), wanted, x.shape());
  check_parameter_dtype(op, x, gain, "gain");
  check_parameter_dtype(op, x, shift, "shift");
  require<ValueError>(eps > 0, "{}: eps is {}, expected a positive number", op, eps);
}

Shape rows_of(const Tensor& x, int64_t per_row) {
  Shape shape = x.shape();
  shape[shape.rank() - 1] = per_row;
  return shape;
}

// Targets of gain and shift, and whether to add to what they hold.
struct AffineTargets {
  GradTarget gain;
  GradTarget shift;

  AffineTargets(Grads& g, int gain_index, int shift_index) {
    if (g.needs(gain_index)) gain = g.target(gain_index);
    if (g.needs(shift_index)) shift = g.target(shift_index);
  }
};

}  // namespace

Variable layer_norm(const Variable& x, const Variable& gain, const Variable& shift, double eps) {
  check_affine("layer_norm", x, gain, shift, eps);
  const Tensor in = x.value().contiguous();
  const Tensor scale = gain.value_as(in.dtype()).contiguous();
  Tensor y = Tensor::empty_like(in);
  Tensor stats = Tensor::empty(rows_of(in, 3), accumulation_dtype(in.dtype()), in.device());
  Tensor no_sum;
  kernels::add_layer_norm(in, Tensor(), DropoutSpec(), scale, shift.value_as(in.dtype()).contiguous(), eps, no_sum, y,
                          stats);
  return Tape::current().record("layer_norm", std::move(y), {&x, &gain, &shift},
                                [in = SavedTensor(in), stats, gain = SavedTensor(scale)](Grads& g) {
                                  AffineTargets to(g, 1, 2);
                                  Tensor dx = Tensor::empty_like(in.get());
                                  Tensor no_branch;
                                  kernels::add_layer_norm_backward(
                                      g.dy(), Tensor(), in.get(), stats, gain.get(), DropoutSpec(), dx, no_branch,
                                      to.gain.tensor, to.gain.accumulate, to.shift.tensor, to.shift.accumulate);
                                  g.add(0, std::move(dx));
                                });
}

std::pair<Variable, Variable> add_layer_norm(const Variable& x, const Variable& branch, const Variable& gain,
                                             const Variable& shift, double eps, double dropout, RandomStream& stream) {
  check_affine("add_layer_norm", x, gain, shift, eps);
  require<ShapeError>(x.shape() == branch.shape(), "add_layer_norm: x has shape {} and branch {}, expected equal ones",
                      x.shape(), branch.shape());
  check_probability("add_layer_norm", dropout);
  const Tensor in = x.value().contiguous();
  const Tensor scale = gain.value_as(in.dtype()).contiguous();
  const Tensor added = branch.value().contiguous();
  DropoutSpec spec;
  if (dropout > 0) spec = {dropout, stream.reserve(in.numel())};
  Tensor sum = Tensor::empty_like(in);
  Tensor y = Tensor::empty_like(in);
  Tensor stats = Tensor::empty(rows_of(in, 3), accumulation_dtype(in.dtype()), in.device());
  kernels::add_layer_norm(in, added, spec, scale, shift.value_as(in.dtype()).contiguous(), eps, sum, y, stats);
  const SavedTensor kept(sum);
  return Tape::current().record_pair("add_layer_norm", std::move(sum), std::move(y), {&x, &branch, &gain, &shift},
                                     [kept, stats, gain = SavedTensor(scale), spec](Grads& g) {
                                       if (!g.dy(1).defined()) {  // only the sum was used
                                         const Tensor& dsum = g.dy(0);
                                         if (spec.probability > 0) {
                                           Tensor dbranch = Tensor::empty_like(dsum);
                                           kernels::dropout(dsum, spec.state, spec.probability, dbranch);
                                           g.add(1, std::move(dbranch));
                                         } else {
                                           g.add(1, dsum);
                                         }
                                         g.add(0, dsum);
                                         return;
                                       }
                                       AffineTargets to(g, 2, 3);
                                       Tensor dsum = Tensor::empty_like(kept.get());
                                       Tensor dbranch;
                                       if (spec.probability > 0 && g.needs(1)) dbranch = Tensor::empty_like(dsum);
                                       kernels::add_layer_norm_backward(
                                           g.dy(1), g.dy(0), kept.get(), stats, gain.get(), spec, dsum, dbranch,
                                           to.gain.tensor, to.gain.accumulate, to.shift.tensor, to.shift.accumulate);
                                       // Without dropout both summands share one gradient.
                                       g.add(1, dbranch.defined() ? std::move(dbranch) : dsum);
                                       g.add(0, std::move(dsum));
                                     });
}

Variable rms_norm(const Variable& x, const Variable& gain, double eps) {
  check_affine("rms_norm", x, gain, Variable(), eps);
  const Tensor in = x.value().contiguous();
  const Tensor scale = gain.value_as(in.dtype()).contiguous();
  Tensor y = Tensor::empty_like(in);
  Tensor rstd = Tensor::empty(rows_of(in, 1), accumulation_dtype(in.dtype()), in.device());
  kernels::rms_norm(in, scale, eps, y, rstd);
  return Tape::current().record(
      "rms_norm", std::move(y), {&x, &gain}, [in = SavedTensor(in), rstd, gain = SavedTensor(scale)](Grads& g) {
        GradTarget dgain;
        if (g.needs(1)) dgain = g.target(1);
        Tensor dx = Tensor::empty_like(in.get());
        kernels::rms_norm_backward(g.dy(), in.get(), rstd, gain.get(), dx, dgain.tensor, dgain.accumulate);
        g.add(0, std::move(dx));
      });
}

}  // namespace attune
