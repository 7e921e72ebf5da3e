#include "framework/kernels/additive.h"

#include "autograd/ops/attention.h"
#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace attune {
namespace {

void check(const char* op, const Variable& q, const Variable& k, const Variable& v) {
  check_operand(op, "q", q);
  check_operand(op, "k", k);
  check_operand(op, "v", v);
  check_same_dtype(op, q, "q", k, "k");
  check_same_dtype(op, q, "q", v, "v");
  require<ShapeError>(q.rank() == 4, "{}: q is {}, expected [B, H, T, A]", op, q.shape());
  const Shape keys{q.dim(0), q.dim(1), k.rank() == 4 ? k.dim(2) : 0, q.dim(3)};
  require<ShapeError>(k.shape() == keys, "{}: q is {} and k {}; expected [B, H, T, A] and [B, H, S, A]", op, q.shape(),
                      k.shape());
  require<ShapeError>(v.shape() == Shape{q.dim(1), q.dim(3)}, "{}: v is {} for q {}, expected [{}, {}]", op, v.shape(),
                      q.shape(), q.dim(1), q.dim(3));
}

}  // namespace

Variable additive_scores(const Variable& q, const Variable& k, const Variable& v) {
  if (is_rounded_for(q, v)) return additive_scores(q, k, parameter_for(q, v));
  check("additive_scores", q, k, v);
  const Tensor query = q.value().contiguous(), key = k.value().contiguous(), vector = v.value().contiguous();
  Tensor y = Tensor::empty({q.dim(0), q.dim(1), q.dim(2), k.dim(2)}, q.dtype(), q.device());
  kernels::additive_scores(query, key, vector, y);
  return Tape::current().record(
      "additive_scores", std::move(y), {&q, &k, &v},
      [query = SavedTensor(query), key = SavedTensor(key), vector = SavedTensor(vector)](Grads& g) {
        Tensor dq = Tensor::empty_like(query.get());
        // The keys of a memory get their gradients from many steps: added in place.
        GradTarget dk = g.needs(1) ? g.target(1) : GradTarget{Tensor::empty_like(key.get()), false};
        Tensor dv = Tensor::empty_like(vector.get());
        kernels::additive_scores_backward(g.dy(), query.get(), key.get(), vector.get(), dq, dk.tensor, dk.accumulate,
                                          dv);
        g.add(0, std::move(dq));
        g.add(2, std::move(dv));
      });
}

Variable additive_scores_composed(const Variable& q, const Variable& k, const Variable& v) {
  if (is_rounded_for(q, v)) return additive_scores_composed(q, k, parameter_for(q, v));
  check("additive_scores_composed", q, k, v);
  const Variable inside = reshape(q, {q.dim(0), q.dim(1), q.dim(2), 1, q.dim(3)}) +
                          reshape(k, {k.dim(0), k.dim(1), 1, k.dim(2), k.dim(3)});  // [B, H, T, S, A]
  return sum(tanh(inside) * reshape(v, {v.dim(0), 1, 1, v.dim(1)}), {-1});
}

}  // namespace attune
