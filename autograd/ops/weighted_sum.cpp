#include "framework/kernels/weighted_sum.h"

#include "autograd/ops/attention.h"
#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace attune {
namespace {

// From so many queries on, a product that packs the values is faster than reading them once for every query.
constexpr int64_t kManyQueries = 8;

/// By one product for every sample and value head; query heads that share one are rows of it.
Variable by_product(const Variable& weights, const Variable& v) {
  const int64_t batch = weights.dim(0), heads = weights.dim(1), queries = weights.dim(2), groups = v.dim(2);
  const Variable rows =
      groups == heads ? weights : reshape(weights, {batch, groups, heads / groups * queries, weights.dim(3)});
  const Variable y = matmul(rows, permute(v, {0, 2, 1, 3}), false, false, true);
  return permute(reshape(y, {batch, heads, queries, v.dim(3)}), {0, 2, 1, 3});
}

}  // namespace

Variable weighted_sum(const Variable& weights, const Variable& v) {
  constexpr const char* kOp = "weighted_sum";
  check_operand(kOp, "weights", weights);
  check_operand(kOp, "v", v);
  check_same_dtype(kOp, weights, "weights", v, "v");
  const Shape& w = weights.shape();
  require<ShapeError>(
      w.rank() == 4 && v.rank() == 4 && v.dim(0) == w[0] && v.dim(1) == w[3] && v.dim(2) > 0 && w[1] % v.dim(2) == 0,
      "{}: weights are {} and v is {}; expected [B, H, T, S] and [B, S, Hkv, K] with Hkv dividing H", kOp, w,
      v.shape());
  if (w[2] >= kManyQueries) return by_product(weights, v);
  const Tensor in = weights.value().contiguous(), values = v.value().contiguous();
  Tensor y = Tensor::empty({w[0], w[2], w[1], v.dim(3)}, v.dtype(), v.device());
  kernels::weighted_sum(in, values, y);
  return Tape::current().record(
      kOp, std::move(y), {&weights, &v}, [in = SavedTensor(in), values = SavedTensor(values)](Grads& g) {
        Tensor dweights;
        if (g.needs(0)) dweights = Tensor::empty_like(in.get());
        GradTarget dv;
        if (g.needs(1)) dv = g.target(1);
        kernels::weighted_sum_backward(g.dy(), in.get(), values.get(), dweights, dv.tensor, dv.accumulate);
        if (dweights.defined()) g.add(0, std::move(dweights));
      });
}

}  // namespace attune
