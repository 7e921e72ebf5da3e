#include "framework/kernels/cuda/cudnn.h"

#ifdef ATTUNE_CUDNN

#include <dlfcn.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <type_traits>

namespace attune::cuda {
namespace {

constexpr size_t kOldest = 90800;  // descriptions of devices; sums of dq that need not begin as zeros
constexpr int64_t kMostConfigurations = 32;

const CudnnLibrary* open_library() {
  void* file = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
  if (file == nullptr) return nullptr;
  static CudnnLibrary all;
  bool complete = true;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(file, name));
    complete = complete && function != nullptr;
  };
  find(all.get_version, "cudnnGetVersion");
  find(all.get_error_string, "cudnnGetErrorString");
  find(all.create, "cudnnCreate");
  find(all.set_stream, "cudnnSetStream");
  find(all.create_descriptor, "cudnnBackendCreateDescriptor");
  find(all.destroy_descriptor, "cudnnBackendDestroyDescriptor");
  find(all.set_attribute, "cudnnBackendSetAttribute");
  find(all.get_attribute, "cudnnBackendGetAttribute");
  find(all.finalize, "cudnnBackendFinalize");
  find(all.execute, "cudnnBackendExecute");
  return complete && all.get_version() >= kOldest ? &all : nullptr;
}

CudnnExtents contiguous_steps(const CudnnExtents& extents) {
  CudnnExtents steps;
  int64_t step = 1;
  for (size_t axis = 4; axis-- > 0;) {
    steps[axis] = step;
    step *= extents[axis];
  }
  return steps;
}

/// Whether the kernels of a configuration have one of these notes.
bool has_note(const CudnnDescriptor& configuration, const CudnnPlan::Notes& notes) {
  if (notes.empty()) return false;
  const CudnnDescriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t handle = engine.get();
  int64_t count = 0;
  check(cudnn_library()->get_attribute(configuration.get(), CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                       1, &count, &handle),
        "cudnnBackendGetAttribute");
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> found;
  check(cudnn_library()->get_attribute(engine.get(), CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                       static_cast<int64_t>(found.size()), &count, found.data()),
        "cudnnBackendGetAttribute");
  const cudnnBackendNumericalNote_t* const begin = found.data();
  const cudnnBackendNumericalNote_t* const end = begin + std::min(count, static_cast<int64_t>(found.size()));
  return std::any_of(notes.begin(), notes.end(),
                     [&](cudnnBackendNumericalNote_t note) { return std::find(begin, end, note) != end; });
}

/// One for every device, never destroyed, as contexts.
cudnnHandle_t handle_of(const Context& context) {
  static std::array<cudnnHandle_t, kMaxCudaDevices> handles{};
  cudnnHandle_t& handle = handles[static_cast<size_t>(context.device)];
  if (handle == nullptr) {
    check(cudnn_library()->create(&handle), "cudnnCreate");
    check(cudnn_library()->set_stream(handle, context.stream), "cudnnSetStream");
  }
  return handle;
}

}  // namespace

const CudnnLibrary* cudnn_library() {
  static const CudnnLibrary* const library = open_library();
  return library;
}

void check(cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw DeviceError(std::string("cuDNN: ") + call + ": " + cudnn_library()->get_error_string(status));
}

CudnnDescriptor::CudnnDescriptor(cudnnBackendDescriptorType_t type) {
  check(cudnn_library()->create_descriptor(type, &handle_), "cudnnBackendCreateDescriptor");
}

CudnnDescriptor::~CudnnDescriptor() {
  if (handle_ != nullptr) cudnn_library()->destroy_descriptor(handle_);
}

void CudnnDescriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const void* values,
                          size_t count) {
  check(cudnn_library()->set_attribute(handle_, name, type, static_cast<int64_t>(count), values),
        "cudnnBackendSetAttribute");
}

void CudnnDescriptor::finalize() { check(cudnn_library()->finalize(handle_), "cudnnBackendFinalize"); }

CudnnGraph::Operand CudnnGraph::tensor(int64_t id, cudnnDataType_t type, const CudnnExtents& extents,
                                       const CudnnExtents& steps, bool in_memory, bool is_number) {
  constexpr int64_t kAlignment = 16;
  const bool is_virtual = !in_memory && !is_number;
  CudnnDescriptor& out = add(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  out.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  out.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type);
  out.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment);
  out.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, extents.data(), extents.size());
  out.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, steps.data(), steps.size());
  out.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, &is_virtual);
  out.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, &is_number);
  out.finalize();
  return out.get();
}

CudnnGraph::Operand CudnnGraph::memory(int64_t id, cudnnDataType_t type, const CudnnExtents& extents,
                                       const CudnnExtents& steps) {
  return tensor(id, type, extents, steps, true, false);
}

CudnnGraph::Operand CudnnGraph::number(int64_t id, cudnnDataType_t type) {
  return tensor(id, type, {1, 1, 1, 1}, {1, 1, 1, 1}, false, true);
}

CudnnGraph::Operand CudnnGraph::between(const CudnnExtents& extents, cudnnDataType_t type) {
  return between(extents, contiguous_steps(extents), type);
}

CudnnGraph::Operand CudnnGraph::between(const CudnnExtents& extents, const CudnnExtents& steps, cudnnDataType_t type) {
  return tensor(next_id_++, type, extents, steps, false, false);
}

void CudnnGraph::operation(CudnnDescriptor& finished) {
  finished.finalize();
  operations_.push_back(finished.get());
}

void CudnnGraph::matmul(Operand a, Operand b, Operand y) {
  CudnnDescriptor& how = add(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  how.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
  how.finalize();
  const Operand computed = how.get();
  CudnnDescriptor& out = add(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  out.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, computed);
  out.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
  out.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
  out.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, y);
  operation(out);
}

CudnnDescriptor& CudnnGraph::convolution_of(const Windows& windows, cudnnBackendDescriptorType_t type,
                                            cudnnBackendAttributeName_t how, cudnnBackendAttributeName_t alpha,
                                            cudnnBackendAttributeName_t beta) {
  constexpr cudnnConvolutionMode_t kMode = CUDNN_CROSS_CORRELATION;
  CudnnDescriptor& described = add(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  described.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  described.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, &kMode);
  described.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2});
  const auto set = [&](cudnnBackendAttributeName_t name, const std::array<int64_t, 2>& values) {
    described.set(name, CUDNN_TYPE_INT64, values.data(), values.size());
  };
  set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, windows.stride);
  set(CUDNN_ATTR_CONVOLUTION_DILATIONS, windows.dilation);
  set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, windows.before);
  set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, windows.behind);
  described.finalize();
  const Operand finished = described.get();
  CudnnDescriptor& out = add(type);
  out.set(how, finished);
  out.set(alpha, 1.0);
  out.set(beta, 0.0);
  return out;
}

void CudnnGraph::convolution(const Windows& windows, Operand x, Operand weight, Operand y) {
  CudnnDescriptor& out =
      convolution_of(windows, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA);
  out.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
  out.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, weight);
  out.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
  operation(out);
}

void CudnnGraph::convolution_backward_input(const Windows& windows, Operand dy, Operand weight, Operand dx) {
  CudnnDescriptor& out =
      convolution_of(windows, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA);
  out.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, dy);
  out.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, weight);
  out.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, dx);
  operation(out);
}

void CudnnGraph::convolution_backward_weight(const Windows& windows, Operand dy, Operand x, Operand dweight) {
  CudnnDescriptor& out = convolution_of(windows, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA);
  out.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, dy);
  out.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, x);
  out.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, dweight);
  operation(out);
}

void CudnnGraph::pointwise(cudnnPointwiseMode_t mode, Operand x, Operand b, Operand y, cudnnDataType_t precision,
                           Operand condition) {
  CudnnDescriptor& how = add(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, &mode);
  how.set(CUDNN_ATTR_POINTWISE_MATH_PREC, precision);
  how.finalize();
  const Operand computed = how.get();
  CudnnDescriptor& out = add(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  out.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, computed);
  out.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
  if (b != nullptr) out.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
  out.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  if (condition != nullptr) out.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, condition);
  operation(out);
}

void CudnnGraph::positions(Operand x, int64_t axis, Operand y) {
  constexpr cudnnPointwiseMode_t kMode = CUDNN_POINTWISE_GEN_INDEX;
  CudnnDescriptor& how = add(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, &kMode);
  how.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_INT32);
  how.set(CUDNN_ATTR_POINTWISE_AXIS, axis);
  how.finalize();
  const Operand computed = how.get();
  CudnnDescriptor& out = add(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  out.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, computed);
  out.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
  out.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  operation(out);
}

void CudnnGraph::reduce(cudnnReduceTensorOp_t mode, Operand x, Operand y) {
  CudnnDescriptor& how = add(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  how.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, &mode);
  how.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  how.finalize();
  const Operand computed = how.get();
  CudnnDescriptor& out = add(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  out.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, computed);
  out.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
  out.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
  operation(out);
}

void CudnnGraph::reshape(Operand x, Operand y) {
  CudnnDescriptor& out = add(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
  out.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
  out.set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
  operation(out);
}

CudnnPlan::CudnnPlan(CudnnGraph graph, CudnnDescriptor device, const Notes& refused) : graph_(std::move(graph)) {
  const CudnnLibrary& library = *cudnn_library();
  CudnnDescriptor operations(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  operations.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, graph_.operations_.data(),
                 graph_.operations_.size());
  operations.finalize();
  constexpr cudnnBackendHeurMode_t kMode = CUDNN_HEUR_MODE_A;
  CudnnDescriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, operations.get());
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, &kMode);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device.get());
  heuristics.finalize();
  std::vector<CudnnDescriptor> configurations;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (int64_t i = 0; i < kMostConfigurations; ++i) {
    handles.push_back(configurations.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  }
  int64_t found = 0;
  check(library.get_attribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                              kMostConfigurations, &found, handles.data()),
        "cudnnBackendGetAttribute");
  parts_.push_back(std::move(operations));
  parts_.push_back(std::move(heuristics));
  cudnnStatus_t status = CUDNN_STATUS_NOT_SUPPORTED;
  for (size_t i = 0; i < static_cast<size_t>(found) && i < configurations.size(); ++i) {
    if (has_note(configurations[i], refused)) continue;
    CudnnDescriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configurations[i].get());
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device.get());
    status = library.finalize(plan.get());
    if (status != CUDNN_STATUS_SUCCESS) continue;
    int64_t count = 0;
    check(library.get_attribute(plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count,
                                &workspace_),
          "cudnnBackendGetAttribute");
    parts_.push_back(std::move(device));
    parts_.push_back(std::move(configurations[i]));
    parts_.push_back(std::move(plan));  // last: execute() takes it
    return;
  }
  check(status, "no kernels for this graph");
}

void CudnnPlan::execute(const Context& context, const std::vector<std::pair<int64_t, const void*>>& operands) const {
  std::vector<int64_t> ids;
  std::vector<const void*> addresses;
  for (const auto& [id, address] : operands) {
    ids.push_back(id);
    addresses.push_back(address);
  }
  constexpr uintptr_t kAlignment = 256;
  const Scratch scratch(context, static_cast<size_t>(workspace_) + kAlignment);
  auto* workspace =
      reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(scratch.data<void>()) + kAlignment - 1) & ~(kAlignment - 1));
  CudnnDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, ids.data(), ids.size());
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, addresses.data(), addresses.size());
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, &workspace);
  pack.finalize();
  static std::mutex mutex;  // of the handles
  const std::lock_guard lock(mutex);
  check(cudnn_library()->execute(handle_of(context), parts_.back().get(), pack.get()), "cudnnBackendExecute");
}

}  // namespace attune::cuda

#endif
