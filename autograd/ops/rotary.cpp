#include "framework/kernels/rotary.h"

#include "autograd/ops/attention.h"
#include "autograd/ops/checks.h"
#include "autograd/tape.h"

namespace attune {

Variable rotary(const Variable& x, const Tensor& cosines, const Tensor& sines, RotaryLayout layout) {
  check_operand("rotary", "x", x);
  require<ShapeError>(x.rank() == 4, "rotary: x has shape {}, expected [B, N, H, K]", x.shape());
  require<ShapeError>(cosines.rank() == 2 && cosines.dim(0) == x.dim(1) && 2 * cosines.dim(1) <= x.dim(3) &&
                          sines.shape() == cosines.shape(),
                      "rotary: x has shape {}, cosines {} and sines {}; expected [N, R / 2] for both, R at most K",
                      x.shape(), cosines.shape(), sines.shape());
  const DType dtype = accumulation_dtype(x.dtype());
  require<DTypeError>(cosines.dtype() == dtype && sines.dtype() == dtype,
                      "rotary: x is {}, cosines {} and sines {}; expected {} for both", dtype_name(x.dtype()),
                      dtype_name(cosines.dtype()), dtype_name(sines.dtype()), dtype_name(dtype));
  const Tensor in = x.dim(3) == 1 || x.value().stride(3) == 1 ? x.value() : x.value().clone();
  const Tensor c = cosines.to(x.device()).contiguous();
  const Tensor s = sines.to(x.device()).contiguous();
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::rotary(in, c, s, layout, 1, y);
  return Tape::current().record("rotary", std::move(y), {&x},
                                [c = SavedTensor(c), s = SavedTensor(s), layout](Grads& g) {
                                  // The same turn backwards.
                                  Tensor dx = Tensor::empty_like(g.dy());
                                  kernels::rotary(g.dy(), c.get(), s.get(), layout, -1, dx);
                                  g.add(0, std::move(dx));
                                });
}

}  // namespace attune
