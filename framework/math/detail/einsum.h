#pragma once

// For .cpp files: how a sum of products by labels becomes one matrix product.

#include <string_view>
#include <vector>

#include "framework/shape.h"

namespace attune {

/// Axes of a and b by what becomes of them. Labels of both operands that the result has are batch axes, others of both
/// are contracted, labels of one operand that the result has not are summed before.
struct EinsumPlan {
  std::vector<int> a_summed;
  std::vector<int> b_summed;
  std::vector<int> a_order;  ///< of what is left: batch, rows, contracted
  std::vector<int> b_order;  ///< batch, contracted, columns
  Shape a_matrix;            ///< [batch, rows, contracted]
  Shape b_matrix;            ///< [batch, contracted, columns]
  Shape product;             ///< the extents of batch, rows and columns
  std::vector<int> order;    ///< axis i of the result is axis order[i] of the product

  /// Throws ValueError for an equation that cannot be read and ShapeError for shapes that do not fit it.
  EinsumPlan(std::string_view equation, const Shape& a, const Shape& b);
};

/// The sum of products, of Tensors or Variables: `ops` has sum(x, axes), matrices(x, axes, shape), which permutes and
/// then reshapes, product(a, b), and restore(y, shape, axes), which reshapes and then permutes.
template <class X, class Ops>
X run_einsum(const EinsumPlan& plan, const X& a, const X& b, const Ops& ops) {
  const X rows = ops.matrices(plan.a_summed.empty() ? a : ops.sum(a, plan.a_summed), plan.a_order, plan.a_matrix);
  const X columns = ops.matrices(plan.b_summed.empty() ? b : ops.sum(b, plan.b_summed), plan.b_order, plan.b_matrix);
  return ops.restore(ops.product(rows, columns), plan.product, plan.order);
}

}  // namespace attune
