#include "autograd/ops/pool.h"

#include <utility>

#include "autograd/ops/checks.h"
#include "autograd/tape.h"
#include "framework/kernels/pool.h"

namespace attune {
namespace {

void check_picture(const char* op, const Variable& x) {
  check_operand(op, "x", x);
  require<ShapeError>(x.rank() == 4, "{}: x has shape {}, expected [B, H, W, C]", op, x.shape());
}

PoolAxis slide(const char* op, const char* name, int64_t in, int64_t size, int64_t stride, int64_t padding) {
  if (stride == 0) stride = size;
  require<ValueError>(size > 0 && stride > 0 && padding >= 0 && padding <= size / 2,
                      "{}: window {}, stride {} and padding {} along the {} given, expected at least 1, 0 and 0 ... "
                      "window / 2",
                      op, size, stride, padding, name);
  require<ShapeError>(size <= in + 2 * padding, "{}: the window of {} is larger than the {} of {} with padding {}", op,
                      size, name, in, padding);
  return {in, (in + 2 * padding - size) / stride + 1, size, stride, padding, false};
}

PoolSpec slide(const char* op, const Variable& x, Extent2d window, const PoolOptions& options) {
  return {slide(op, "height", x.dim(1), window.height, options.stride.height, options.padding.height),
          slide(op, "width", x.dim(2), window.width, options.stride.width, options.padding.width),
          options.count_padding};
}

Tensor empty_output(const Tensor& x, const PoolSpec& spec) {
  return Tensor::empty({x.dim(0), spec.height.out, spec.width.out, x.dim(3)}, x.dtype(), x.device());
}

Variable average(const char* op, const Variable& x, const PoolSpec& spec) {
  const Tensor in = x.value().contiguous();
  Tensor y = empty_output(in, spec);
  kernels::average_pool2d(in, spec, y);
  return Tape::current().record(op, std::move(y), {&x}, [spec, shape = in.shape()](Grads& g) {
    Tensor dx = Tensor::empty(shape, g.dy().dtype(), g.dy().device());
    kernels::average_pool2d_backward(g.dy(), spec, dx);
    g.add(0, std::move(dx));
  });
}

}  // namespace

Variable max_pool2d(const Variable& x, Extent2d window, const PoolOptions& options) {
  check_picture("max_pool2d", x);
  const PoolSpec spec = slide("max_pool2d", x, window, options);
  const Tensor in = x.value().contiguous();
  Tensor y = empty_output(in, spec);
  kernels::max_pool2d(in, spec, y);
  const SavedTensor kept(y);
  return Tape::current().record("max_pool2d", std::move(y), {&x}, [spec, in = SavedTensor(in), kept](Grads& g) {
    Tensor dx = Tensor::empty_like(in.get());
    kernels::max_pool2d_backward(g.dy(), in.get(), kept.get(), spec, dx);
    g.add(0, std::move(dx));
  });
}

Variable average_pool2d(const Variable& x, Extent2d window, const PoolOptions& options) {
  check_picture("average_pool2d", x);
  return average("average_pool2d", x, slide("average_pool2d", x, window, options));
}

Variable adaptive_average_pool2d(const Variable& x, Extent2d out) {
  check_picture("adaptive_average_pool2d", x);
  require<ShapeError>(out.height > 0 && out.width > 0 && x.dim(1) > 0 && x.dim(2) > 0,
                      "adaptive_average_pool2d: {} x {} windows asked for over x {}, expected at least 1 x 1 each",
                      out.height, out.width, x.shape());
  const PoolSpec spec{{.in = x.dim(1), .out = out.height, .adaptive = true},
                      {.in = x.dim(2), .out = out.width, .adaptive = true}};
  return average("adaptive_average_pool2d", x, spec);
}

}  // namespace attune
