#include "layers/norm.h"

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/init.h"

namespace attune {

std::pair<Variable, Variable> Norm::add(const Variable& x, const Variable& branch, double dropout) const {
  Variable sum = attune::add(x, dropout > 0 ? attune::dropout(branch, dropout) : branch);
  Variable y = (*this)(sum);
  return {std::move(sum), std::move(y)};
}

std::unique_ptr<Norm> make_norm(int64_t dim, const NormOptions& options) {
  if (options.kind == NormKind::kRms) return std::make_unique<RMSNorm>(dim, options.eps);
  return std::make_unique<LayerNorm>(dim, LayerNormOptions{.eps = options.eps, .bias = options.bias});
}

LayerNorm::LayerNorm(int64_t dim, LayerNormOptions options) : eps_(options.eps) {
  require<ValueError>(dim > 0 && eps_ > 0, "LayerNorm: dim {} and eps {} given, expected at least 1, and more than 0",
                      dim, eps_);
  weight_ = parameter("weight", init::ones({dim}));
  if (options.bias) bias_ = parameter("bias", init::zeros({dim}));
}

Variable LayerNorm::operator()(const Variable& x) const {
  if (x.rank() < 1 || x.dim(-1) != weight_.dim(0)) [[unlikely]] {
    fail<ShapeError>("{}: input is {}, expected [..., {}]", who("LayerNorm"), x.shape(), weight_.dim(0));
  }
  return result(layer_norm(x, weight_, bias_, eps_));
}

std::pair<Variable, Variable> LayerNorm::add(const Variable& x, const Variable& branch, double dropout) const {
  return add_layer_norm(x, branch, weight_, bias_, eps_, dropout);
}

RMSNorm::RMSNorm(int64_t dim, double eps) : eps_(eps) {
  require<ValueError>(dim > 0 && eps > 0, "RMSNorm: dim {} and eps {} given, expected at least 1, and more than 0", dim,
                      eps);
  weight_ = parameter("weight", init::ones({dim}));
}

Variable RMSNorm::operator()(const Variable& x) const {
  if (x.rank() < 1 || x.dim(-1) != weight_.dim(0)) [[unlikely]] {
    fail<ShapeError>("{}: input is {}, expected [..., {}]", who("RMSNorm"), x.shape(), weight_.dim(0));
  }
  return result(rms_norm(x, weight_, eps_));
}

}  // namespace attune
