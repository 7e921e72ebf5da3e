#include "layers/transformer/residual.h"

#include "autograd/ops/ops.h"

namespace attune {

Variable add_branch(const ResidualStep& step, double dropout) {
  return add(step.sum, dropout > 0 ? attune::dropout(step.branch, dropout) : step.branch);
}

}  // namespace attune
