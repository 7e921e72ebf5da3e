#include "framework/kernels/alignment.h"

#include "autograd/ops/attention.h"
#include "autograd/ops/checks.h"
#include "autograd/tape.h"

namespace attune {

std::pair<Variable, Variable> monotonic_alignment(const Variable& p, const Variable& previous, const Tensor& keep) {
  constexpr const char* kOp = "monotonic_alignment";
  check_operand(kOp, "p", p);
  check_operand(kOp, "previous", previous);
  check_same_dtype(kOp, p, "p", previous, "previous");
  require<DTypeError>(keep.defined() && keep.dtype() == DType::kBool, "{}: keep is {}, expected bool", kOp, keep);
  const Shape& shape = p.shape();
  require<ShapeError>(shape.rank() == 4, "{}: p is {}, expected [B, H, T, S]", kOp, shape);
  require<ShapeError>(keep.shape() == shape, "{}: keep is {}, expected the shape of p, {}", kOp, keep.shape(), shape);
  const Shape carried{shape[0], shape[1], shape[3]};
  require<ShapeError>(previous.shape() == carried, "{}: previous is {} and p {}; expected {}", kOp, previous.shape(),
                      shape, carried);
  const int64_t rows = shape[0] * shape[1];
  const Shape flat{rows, shape[2], shape[3]};
  const Tensor in = p.value().contiguous().view(flat);
  const Tensor before = previous.value().contiguous().view({rows, shape[3]});
  const Tensor kept = keep.to(p.device()).contiguous().view(flat);
  Tensor y = Tensor::empty(flat, p.dtype(), p.device());
  Tensor last = Tensor::empty(before.shape(), p.dtype(), p.device());
  kernels::monotonic_alignment(in, before, kept, y, last);
  const SavedTensor saved(y);
  return Tape::current().record_pair(
      kOp, y.view(shape), last.view(carried), {&p, &previous},
      [in = SavedTensor(in), before = SavedTensor(before), kept = SavedTensor(kept, "keep"), saved, shape,
       carried](Grads& g) {
        const auto flat_gradient = [&g](int i, const Shape& as) {
          return g.dy(i).defined() ? g.dy(i).view(as) : g.dy(i);
        };
        Tensor dp = Tensor::empty(in.get().shape(), in.get().dtype(), in.get().device());
        Tensor dprevious = Tensor::empty(before.get().shape(), in.get().dtype(), in.get().device());
        kernels::monotonic_alignment_backward(in.get(), before.get(), kept.get(), saved.get(),
                                              flat_gradient(0, in.get().shape()),
                                              flat_gradient(1, before.get().shape()), dp, dprevious);
        g.add(0, dp.view(shape));
        g.add(1, dprevious.view(carried));
      });
}

}  // namespace attune
