#include "autograd/ops/conv.h"

#include <utility>

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/kernels/conv.h"
#include "framework/kernels/reduce.h"

namespace attune {
namespace {

struct Axis {
  ConvAxis window;
  int64_t out;
};

Axis slide(const char* op, const char* name, int64_t in, int64_t size, int64_t stride, int64_t padding,
           int64_t dilation) {
  require<ValueError>(stride > 0 && dilation > 0 && (padding >= 0 || padding == kSamePadding),
                      "{}: stride {}, dilation {} and padding {} along the {} given, expected at least 1, 1 and 0", op,
                      stride, dilation, padding, name);
  const int64_t reach = dilation * (size - 1);
  if (padding == kSamePadding) {
    require<ValueError>(stride == 1, "{}: stride {} along the {} with kSamePadding, expected 1", op, stride, name);
    return {{size, 1, reach / 2, dilation}, in};
  }
  require<ShapeError>(reach < in + 2 * padding,
                      "{}: the window of {} with dilation {} reaches over {} along the {} of {} with padding {}", op,
                      size, dilation, reach + 1, name, in, padding);
  return {{size, stride, padding, dilation}, (in + 2 * padding - reach - 1) / stride + 1};
}

void check_channels(const char* op, const Variable& x, const Variable& weight, const Variable& bias, int64_t channels,
                    int64_t groups) {
  check_same_dtype(op, x, "x", weight, "weight");
  require<ShapeError>(groups > 0 && channels % groups == 0 && weight.dim(0) % groups == 0,
                      "{}: {} groups given for {} input and {} output channels; they must divide both", op, groups,
                      channels, weight.dim(0));
  require<ShapeError>(channels > 0 && weight.dim(1) * groups == channels,
                      "{}: x {} has {} channels and weight {} takes {} in {} groups", op, x.shape(), channels,
                      weight.shape(), weight.dim(1) * groups, groups);
  for (int axis = 2; axis < weight.rank(); ++axis) {
    require<ShapeError>(weight.dim(axis) > 0, "{}: weight {} has an empty window", op, weight.shape());
  }
  if (!bias.defined()) return;
  require<ShapeError>(bias.shape() == Shape{weight.dim(0)}, "{}: bias has shape {}, expected [{}] for weight {}", op,
                      bias.shape(), weight.dim(0), weight.shape());
  check_same_dtype(op, x, "x", bias, "bias");
}

}  // namespace

Variable conv2d(const Variable& x, const Variable& weight, const Variable& bias, const Conv2dOptions& options) {
  check_operand("conv2d", "x", x);
  if (is_rounded_for(x, weight)) return conv2d(x, parameter_for(x, weight), parameter_for(x, bias), options);
  require<ShapeError>(x.rank() == 4, "conv2d: x has shape {}, expected [B, H, W, C]", x.shape());
  require<ShapeError>(weight.rank() == 4, "conv2d: weight has shape {}, expected [O, C / groups, KH, KW]",
                      weight.shape());
  check_channels("conv2d", x, weight, bias, x.dim(3), options.groups);
  const Axis rows = slide("conv2d", "height", x.dim(1), weight.dim(2), options.stride.height, options.padding.height,
                          options.dilation.height);
  const Axis columns = slide("conv2d", "width", x.dim(2), weight.dim(3), options.stride.width, options.padding.width,
                             options.dilation.width);
  const ConvSpec spec{rows.window, columns.window, options.groups};
  const Tensor in = x.value().contiguous();
  const Tensor w = weight.value().permute({0, 2, 3, 1}).contiguous();  // [O, KH, KW, C / groups], a copy
  Tensor y = Tensor::empty({x.dim(0), rows.out, columns.out, weight.dim(0)}, in.dtype(), in.device());
  kernels::conv2d(spec, in, w, bias.value().contiguous(), y);
  return Tape::current().record("conv2d", std::move(y), {&x, &weight, &bias},
                                [spec, in = SavedTensor(in), w = SavedTensor(w)](Grads& g) {
                                  const Tensor& dy = g.dy();
                                  if (g.needs(0)) {
                                    Tensor dx = Tensor::empty_like(in.get());
                                    kernels::conv2d_backward_input(spec, dy, w.get(), dx);
                                    g.add(0, std::move(dx));
                                  }
                                  if (g.needs(1)) {
                                    Tensor dw = Tensor::empty_like(w.get());
                                    kernels::conv2d_backward_weight(spec, dy, in.get(), dw);
                                    g.add(1, dw.permute({0, 3, 1, 2}));
                                  }
                                  if (g.needs(2)) {
                                    Tensor dbias = Tensor::empty({dy.dim(3)}, dy.dtype(), dy.device());
                                    kernels::sum_to(dy, dbias);
                                    g.add(2, std::move(dbias));
                                  }
                                });
}

Variable conv1d(const Variable& x, const Variable& weight, const Variable& bias, const Conv1dOptions& options) {
  check_operand("conv1d", "x", x);
  if (is_rounded_for(x, weight)) return conv1d(x, parameter_for(x, weight), parameter_for(x, bias), options);
  require<ShapeError>(x.rank() == 3, "conv1d: x has shape {}, expected [B, C, S]", x.shape());
  require<ShapeError>(weight.rank() == 3, "conv1d: weight has shape {}, expected [O, C / groups, K]", weight.shape());
  check_channels("conv1d", x, weight, bias, x.dim(1), options.groups);
  slide("conv1d", "length", x.dim(2), weight.dim(2), options.stride, options.padding, options.dilation);
  const Variable row = reshape(transpose(x, 1, 2), {x.dim(0), 1, x.dim(2), x.dim(1)});  // [B, 1, S, C]
  const Variable window = reshape(weight, {weight.dim(0), weight.dim(1), 1, weight.dim(2)});
  const Variable y = conv2d(row, window, bias,
                            {.stride = {1, options.stride},
                             .padding = {0, options.padding},
                             .dilation = {1, options.dilation},
                             .groups = options.groups});
  return transpose(reshape(y, {y.dim(0), y.dim(2), y.dim(3)}), 1, 2);
}

}  // namespace attune
