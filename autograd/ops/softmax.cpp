#include "framework/kernels/softmax.h"

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace attune {
namespace {

Tensor rows(const char* op, const Variable& x) {
  require<ShapeError>(x.rank() >= 1, "{}: x has shape {}, expected at least one axis", op, x.shape());
  return x.value().contiguous();
}

}  // namespace

Variable softmax(const Variable& x) {
  const Tensor in = rows("softmax", x);
  Tensor y = Tensor::empty_like(in);
  kernels::softmax(in, y);
  const SavedTensor kept(y);
  return Tape::current().record("softmax", std::move(y), {&x}, [kept](Grads& g) {
    Tensor dx = Tensor::empty_like(g.dy());
    kernels::softmax_backward(kept.get(), g.dy(), dx);
    g.add(0, std::move(dx));
  });
}

Variable masked_softmax(const Variable& x, const Tensor& keep) {
  require<DTypeError>(keep.dtype() == DType::kBool, "masked_softmax: keep is {}, expected bool",
                      dtype_name(keep.dtype()));
  const Tensor in = rows("masked_softmax", x);
  require<ShapeError>(broadcast_shapes(in.shape(), keep.shape(), "masked_softmax") == in.shape(),
                      "masked_softmax: keep {} does not broadcast to x {}", keep.shape(), in.shape());
  Tensor y = Tensor::empty_like(in);
  kernels::masked_softmax(in, keep.to(in.device()).expand(in.shape()).contiguous(), y);
  const SavedTensor kept(y);
  return Tape::current().record("masked_softmax", std::move(y), {&x}, [kept](Grads& g) {
    // Where y is 0 (masked) the gradient is exactly 0.
    Tensor dx = Tensor::empty_like(g.dy());
    kernels::softmax_backward(kept.get(), g.dy(), dx);
    g.add(0, std::move(dx));
  });
}

Variable log_softmax(const Variable& x) {
  const Tensor in = rows("log_softmax", x);
  Tensor y = Tensor::empty_like(in);
  kernels::log_softmax(in, y);
  const SavedTensor kept(y);
  return Tape::current().record("log_softmax", std::move(y), {&x}, [kept](Grads& g) {
    Tensor dx = Tensor::empty_like(g.dy());
    kernels::log_softmax_backward(kept.get(), g.dy(), dx);
    g.add(0, std::move(dx));
  });
}

}  // namespace attune
