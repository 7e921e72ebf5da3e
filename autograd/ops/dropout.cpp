#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/kernels/random.h"

namespace attune {

Variable dropout(const Variable& x, double p, RandomStream& stream) {
  check_operand("dropout", "x", x);
  check_probability("dropout", p);
  if (p == 0) return x;
  const RandomState state = stream.reserve(x.numel());
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::dropout(x.value(), state, p, y);
  return Tape::current().record("dropout", std::move(y), {&x}, [state, p](Grads& g) {
    // What was kept is kept again, what was dropped is dropped again.
    Tensor dy = g.take_dy();
    Tensor dx = dy.storage().unique() ? std::move(dy) : dy.clone();
    kernels::dropout(dx, state, p, dx);
    g.add(0, std::move(dx));
  });
}

}  // namespace attune
