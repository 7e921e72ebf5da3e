#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/unary.h"
#include "framework/kernels/elementwise.h"

namespace attune {
namespace {

Variable reduced(const char* op, const Variable& losses, Reduction reduction) {
  if (reduction == Reduction::kNone) return losses;
  if (reduction == Reduction::kMean) return mean(losses);
  if (reduction == Reduction::kSum) return sum(losses);
  require<ShapeError>(losses.rank() > 0, "{}: x has shape {}, a mean over the batch needs one axis", op,
                      losses.shape());
  return sum(losses) * (1 / static_cast<double>(losses.dim(0)));
}

/// Both operands of a loss, in what its sums are kept in.
struct Operands {
  Variable x;
  Variable target;

  Operands(const char* op, const Variable& given, const Variable& aim) {
    check_operand(op, "x", given);
    check_operand(op, "target", aim);
    require<ShapeError>(given.shape() == aim.shape(), "{}: x has shape {} and target {}; expected the same", op,
                        given.shape(), aim.shape());
    check_parameter_dtype(op, given, aim, "target");
    x = cast(given, accumulation_dtype(given.dtype()));
    target = cast(aim, x.dtype());
  }
};

/// A weight of losses like x, as an operand of them.
Variable weight_for(const char* op, const char* name, const Tensor& weight, const Variable& x) {
  require<DTypeError>(is_floating(weight.dtype()), "{}: {} is {}, expected a floating dtype", op, name, weight);
  const Shape& shape = x.shape();
  bool fits = weight.rank() <= shape.rank();
  for (int axis = 1; fits && axis <= weight.rank(); ++axis) {
    fits = weight.dim(-axis) == 1 || weight.dim(-axis) == x.dim(-axis);
  }
  require<ShapeError>(fits, "{}: {} has shape {}, which does not broadcast to x {}", op, name, weight.shape(), shape);
  return Variable(weight.to(x.dtype()).to(x.device()));
}

}  // namespace

Variable mse_loss(const Variable& x, const Variable& target, Reduction reduction) {
  const Operands wide("mse_loss", x, target);
  return reduced("mse_loss", square(wide.x - wide.target), reduction);
}

Variable l1_loss(const Variable& x, const Variable& target, Reduction reduction) {
  const Operands wide("l1_loss", x, target);
  return reduced("l1_loss", abs(wide.x - wide.target), reduction);
}

Variable huber_loss(const Variable& x, const Variable& target, const HuberOptions& options) {
  require<ValueError>(options.delta > 0, "huber_loss: delta {} given, expected more than 0", options.delta);
  const Operands wide("huber_loss", x, target);
  const Variable losses = unary("huber_loss", wide.x - wide.target, Keeps::kInput, kernels::huber,
                                kernels::huber_backward, options.delta, 0.0);
  return reduced("huber_loss", losses, options.reduction);
}

Variable bce_with_logits(const Variable& x, const Variable& target, const BceOptions& options) {
  constexpr const char* kOp = "bce_with_logits";
  const Operands wide(kOp, x, target);
  // -log sigmoid(x) = softplus(-x), -log(1 - sigmoid(x)) = softplus(x)
  Variable positive = wide.target * softplus(-wide.x);
  if (options.pos_weight.defined()) {
    positive = positive * weight_for(kOp, "pos_weight", options.pos_weight, wide.x);
  }
  Variable losses = positive + affine(wide.target, -1, 1) * softplus(wide.x);
  if (options.weight.defined()) losses = losses * weight_for(kOp, "weight", options.weight, wide.x);
  return reduced(kOp, losses, options.reduction);
}

Variable kl_div(const Variable& log_p, const Variable& target, const KlDivOptions& options) {
  const Operands wide("kl_div", log_p, target);
  const Variable& t = wide.target;
  if (options.log_target) return reduced("kl_div", exp(t) * (t - wide.x), options.reduction);
  // t log t by way of log 1 where t is 0.
  const Variable one(Tensor::full({}, 1, t.dtype(), t.device()));
  Tensor size = Tensor::empty(t.shape(), t.dtype(), t.device());
  Tensor is_zero = Tensor::empty(t.shape(), DType::kBool, t.device());
  kernels::abs(t.value(), size);
  kernels::prefers_first(Tensor::zeros({}, t.dtype(), t.device()), size, false, is_zero);
  const Variable zero(Tensor::zeros({}, t.dtype(), t.device()));
  const Variable cross = where(is_zero, zero, t * wide.x);
  return reduced("kl_div", t * log(where(is_zero, one, t)) - cross, options.reduction);
}

}  // namespace attune
