#include "layers/transformer/residual.h"

#include "autograd/ops/ops.h"

namespace attune {

std::pair<Variable, Variable> add_norm(const ResidualStep& step, const LayerNorm& norm, double dropout) {
  return add_layer_norm(step.sum, step.branch, norm.weight(), norm.bias(), norm.eps(), dropout);
}

Variable add_branch(const ResidualStep& step, double dropout) {
  return add(step.sum, dropout > 0 ? attune::dropout(step.branch, dropout) : step.branch);
}

}  // namespace attune
