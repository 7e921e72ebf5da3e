#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/kernels/index.h"

namespace attune {

Variable embedding(const Variable& weight, const Tensor& ids, int64_t padding_index, double scale) {
  check_operand("embedding", "weight", weight);
  require<ShapeError>(weight.rank() == 2, "embedding: weight has shape {}, expected [V, D]", weight.shape());
  const Tensor rows = check_indices("embedding", "id", ids, weight.dim(0)).to(weight.device());
  const int64_t dim = weight.dim(1);
  Shape shape = rows.shape();
  shape.push_back(dim);
  Tensor y = Tensor::empty(shape, weight.dtype(), weight.device());
  Tensor out = y.view({1, rows.numel(), dim});
  kernels::take_rows(weight.value().unsqueeze(0), rows, scale, out);
  return Tape::current().record("embedding", std::move(y), {&weight},
                                [rows = SavedTensor(rows), padding_index, scale, dim](Grads& g) {
                                  Tensor dw = g.accumulator(0).unsqueeze(0);
                                  const Tensor dy = g.dy().view({1, rows.get().numel(), dim});
                                  kernels::add_rows(dy, rows.get(), scale, padding_index, dw);
                                });
}

}  // namespace attune
