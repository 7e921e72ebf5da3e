#include <array>
#include <compare>
#include <utility>

#include "framework/kernels/cuda/conv_cudnn.h"
#include "framework/kernels/cuda/conv_padding.h"
#include "framework/kernels/cuda/cudnn.h"
#include "framework/kernels/cuda/number.cuh"

namespace attune::cuda {

#ifdef ATTUNE_CUDNN

namespace {

enum Id : int64_t { kX, kWeight, kY };

/// What a plan depends on: the device, the pass, the dtype, the extents and the axes' windows.
struct Key {
  int64_t device;
  ConvPass pass;
  cudnnDataType_t type;
  CudnnExtents x, weight, y;  // [B, C, H, W], [O, C / groups, KH, KW], [B, O, OH, OW]
  std::array<int64_t, 2> stride, dilation, before, behind;

  auto operator<=>(const Key&) const = default;
};

/// Extents of what lies as [n, h, w, channels], the way cuDNN orders axes, and the steps along these.
CudnnExtents extents_of(const Tensor& x) { return {x.dim(0), x.dim(3), x.dim(1), x.dim(2)}; }
CudnnExtents steps_of(const CudnnExtents& e) { return {e[1] * e[2] * e[3], 1, e[3] * e[1], e[1]}; }

bool fits(const Tensor& x, const Tensor& weight, const Tensor& y) {
  const bool known = x.dtype() == DType::kFloat32 || x.dtype() == DType::kBFloat16;
  return cudnn_library() != nullptr && known && x.dim(1) > 1 && x.numel() > 0 && weight.numel() > 0 && y.numel() > 0 &&
         aligned(x.raw()) && aligned(weight.raw()) && aligned(y.raw());
}

Key key_of(const Context& context, ConvPass pass, const ConvSpec& spec, const Tensor& x, const Tensor& weight,
           const Tensor& y) {
  const ConvAxis &h = spec.height, &w = spec.width;
  return {.device = context.device,
          .pass = pass,
          .type = x.dtype() == DType::kBFloat16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT,
          .x = extents_of(x),
          .weight = extents_of(weight),
          .y = extents_of(y),
          .stride = {h.stride, w.stride},
          .dilation = {h.dilation, w.dilation},
          .before = {h.padding, w.padding},
          .behind = {padding_behind(h, x.dim(1), y.dim(1)), padding_behind(w, x.dim(2), y.dim(2))}};
}

CudnnGraph graph_of(const Key& key) {
  CudnnGraph graph;
  const auto operand = [&](Id id, const CudnnExtents& extents) {
    return graph.memory(id, key.type, extents, steps_of(extents));
  };
  const CudnnGraph::Windows windows{key.stride, key.dilation, key.before, key.behind};
  const CudnnGraph::Operand x = operand(kX, key.x), weight = operand(kWeight, key.weight), y = operand(kY, key.y);
  switch (key.pass) {
    case ConvPass::kForward:
      graph.convolution(windows, x, weight, y);
      break;
    case ConvPass::kInput:
      graph.convolution_backward_input(windows, y, weight, x);
      break;
    case ConvPass::kWeight:
      graph.convolution_backward_weight(windows, y, x, weight);
      break;
  }
  return graph;
}

/// What kernels must not do: sums in any order; and with float32, products of less than float32.
CudnnPlan::Notes refused(const Key& key) {
  if (key.type == CUDNN_DATA_BFLOAT16) return {CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC};
  return {CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, CUDNN_NUMERICAL_NOTE_TENSOR_CORE,
          CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION};
}

}  // namespace

bool conv_in_cudnn(const Context& context, ConvPass pass, const ConvSpec& spec, const Tensor& x, const Tensor& weight,
                   const Tensor& y) {
  if (!fits(x, weight, y)) return false;
  static auto* plans = new CudnnPlans<Key>;  // never destroyed, as contexts
  const Key key = key_of(context, pass, spec, x, weight, y);
  const CudnnPlan* plan = plans->find(
      key, [&](CudnnDescriptor device) { return CudnnPlan(graph_of(key), std::move(device), refused(key)); });
  if (plan == nullptr) return false;
  plan->execute(context, {{kX, x.raw()}, {kWeight, weight.raw()}, {kY, y.raw()}});
  return true;
}

#else

bool conv_in_cudnn(const Context&, ConvPass, const ConvSpec&, const Tensor&, const Tensor&, const Tensor&) {
  return false;
}

#endif

}  // namespace attune::cuda
