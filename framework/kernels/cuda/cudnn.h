#pragma once

// cuDNN 9's graphs: operations are described, cuDNN finds kernels for all of them together. Its library is opened at
// run time: where it is not, or where this file was compiled without its headers, kernels of our own do the work.

#if __has_include(<cudnn.h>)
#define ATTUNE_CUDNN

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "framework/error.h"
#include "framework/kernels/cuda/context.h"

namespace attune::cuda {

/// What is used of libcudnn.so.9.
struct CudnnLibrary {
  decltype(&cudnnGetVersion) get_version = nullptr;
  decltype(&cudnnGetErrorString) get_error_string = nullptr;
  decltype(&cudnnCreate) create = nullptr;
  decltype(&cudnnSetStream) set_stream = nullptr;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor = nullptr;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor = nullptr;
  decltype(&cudnnBackendSetAttribute) set_attribute = nullptr;
  decltype(&cudnnBackendGetAttribute) get_attribute = nullptr;
  decltype(&cudnnBackendFinalize) finalize = nullptr;
  decltype(&cudnnBackendExecute) execute = nullptr;
};

/// nullptr where it is not there, or older than the headers ask for.
const CudnnLibrary* cudnn_library();

/// Throws DeviceError: "cuDNN: <call>: <what it says>".
void check(cudnnStatus_t status, const char* call);

/// A description of something, of type `type` until finalize().
class CudnnDescriptor {
 public:
  explicit CudnnDescriptor(cudnnBackendDescriptorType_t type);
  ~CudnnDescriptor();
  CudnnDescriptor(CudnnDescriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  CudnnDescriptor(const CudnnDescriptor&) = delete;
  CudnnDescriptor& operator=(const CudnnDescriptor&) = delete;

  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const void* values, size_t count = 1);
  void set(cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t other) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, &other);
  }
  void set(cudnnBackendAttributeName_t name, int64_t value) { set(name, CUDNN_TYPE_INT64, &value); }
  void set(cudnnBackendAttributeName_t name, double value) { set(name, CUDNN_TYPE_DOUBLE, &value); }
  void set(cudnnBackendAttributeName_t name, cudnnDataType_t value) { set(name, CUDNN_TYPE_DATA_TYPE, &value); }
  void finalize();

  cudnnBackendDescriptor_t get() const { return handle_; }

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

using CudnnExtents = std::array<int64_t, 4>;

/// Operations between tensors of four axes, in the order in which they are added. Every function throws DeviceError
/// where cuDNN refuses.
class CudnnGraph {
 public:
  using Operand = cudnnBackendDescriptor_t;

  /// What execute() is given an address for: a tensor in device memory, or one number of the host's.
  Operand memory(int64_t id, cudnnDataType_t type, const CudnnExtents& extents, const CudnnExtents& steps);
  Operand number(int64_t id, cudnnDataType_t type);
  /// What need not be in memory.
  Operand between(const CudnnExtents& extents, cudnnDataType_t type = CUDNN_DATA_FLOAT);
  Operand between(const CudnnExtents& extents, const CudnnExtents& steps, cudnnDataType_t type);

  /// y = a b over the last two axes.
  void matmul(Operand a, Operand b, Operand y);
  /// How windows slide along the last two axes, and how many zeros there are before and behind these.
  struct Windows {
    std::array<int64_t, 2> stride, dilation, before, behind;
  };
  /// y = x * weight, with x [B, C, H, W], weight [O, C / groups, KH, KW], y [B, O, OH, OW]; and its derivatives.
  void convolution(const Windows& windows, Operand x, Operand weight, Operand y);
  void convolution_backward_input(const Windows& windows, Operand dy, Operand weight, Operand dx);
  void convolution_backward_weight(const Windows& windows, Operand dy, Operand x, Operand dweight);
  /// y = mode(x), mode(x, b), or with a condition: x where it is true, b elsewhere.
  void pointwise(cudnnPointwiseMode_t mode, Operand x, Operand b, Operand y,
                 cudnnDataType_t precision = CUDNN_DATA_FLOAT, Operand condition = nullptr);
  /// y = the position of its elements along an axis of x.
  void positions(Operand x, int64_t axis, Operand y);
  /// y = x reduced to y's extents.
  void reduce(cudnnReduceTensorOp_t mode, Operand x, Operand y);
  /// The same elements with the extents and steps of y.
  void reshape(Operand x, Operand y);

 private:
  friend class CudnnPlan;

  Operand tensor(int64_t id, cudnnDataType_t type, const CudnnExtents& extents, const CudnnExtents& steps,
                 bool in_memory, bool is_number);
  CudnnDescriptor& add(cudnnBackendDescriptorType_t type) { return parts_.emplace_back(type); }
  void operation(CudnnDescriptor& finished);
  CudnnDescriptor& convolution_of(const Windows& windows, cudnnBackendDescriptorType_t type,
                                  cudnnBackendAttributeName_t how, cudnnBackendAttributeName_t alpha,
                                  cudnnBackendAttributeName_t beta);

  std::vector<CudnnDescriptor> parts_;
  std::vector<cudnnBackendDescriptor_t> operations_;
  int64_t next_id_ = int64_t{1} << 32;  // of what is between
};

/// How cuDNN computes a graph.
class CudnnPlan {
 public:
  using Notes = std::vector<cudnnBackendNumericalNote_t>;

  /// The first kernels that cuDNN offers and can make, of those without the notes that are `refused`. Throws
  /// DeviceError where there are none. device: a CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR.
  CudnnPlan(CudnnGraph graph, CudnnDescriptor device, const Notes& refused = {});

  /// Addresses by the ids of the graph's operands.
  void execute(const Context& context, const std::vector<std::pair<int64_t, const void*>>& operands) const;

 private:
  CudnnGraph graph_;
  std::vector<CudnnDescriptor> parts_;
  int64_t workspace_ = 0;
};

/// Plans by all that they depend on. Key: ordered, with a member `device`, its index.
template <class Key>
class CudnnPlans {
 public:
  /// The plan for a key; nullptr where cuDNN has none. make(device): the plan; called once for a key.
  template <class Make>
  const CudnnPlan* find(const Key& key, const Make& make) {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(key);
    if (found != known_.end()) return found->second.get();
    std::unique_ptr<CudnnPlan> plan;
    try {
      CudnnDescriptor device(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
      const auto index = static_cast<int32_t>(key.device);
      device.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, &index);
      device.finalize();
      plan = std::make_unique<CudnnPlan>(make(std::move(device)));
    } catch (const DeviceError&) {
      plan = nullptr;  // our own kernels do it
    }
    return known_.emplace(key, std::move(plan)).first->second.get();
  }

 private:
  std::mutex mutex_;
  std::map<Key, std::unique_ptr<CudnnPlan>> known_;
};

}  // namespace attune::cuda

#endif
