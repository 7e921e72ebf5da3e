#include "layers/transformer/residual.h"

#include "autograd/ops/ops.h"

namespace attune {

Variable add_branch(const ResidualStep& step, double dropout) {
  return add(step.sum, dropout > 0 ? attune::dropout(step.branch, dropout) : step.branch);
}

std::pair<Variable, Variable> add_norm(const ResidualStep& step, const Norm& norm, double dropout) {
  if (!norm.observed()) return norm.add(step.sum, step.branch, dropout);
  const Variable sum = add_branch(step, dropout);
  return {sum, norm(sum)};
}

}  // namespace attune
