#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <utility>

#include "framework/cuda_plugin.h"
#include "framework/tensor.h"

namespace attune::cuda {

/// What all work on one device shares. Made at the first use of the device and never destroyed: the driver may be gone
/// before destructors of static objects run.
struct Context {
  int device = 0;
  cudaStream_t stream = nullptr;  ///< the only one that computes: kernels run in the order of their calls
  cublasLtHandle_t cublas = nullptr;
  int multiprocessors = 0;
  bool captures = false;  ///< what is given to the stream is recorded (graph.h)
  /// Where random draws begin is recorded as a number, to which this one in device memory is added; nullptr until
  /// something is recorded.
  uint64_t* draws = nullptr;
};

/// Throws what is missing: the driver, the GPU.
int device_count();

/// The context of a device, which also becomes the device of the calling thread.
Context& context(int device);
inline Context& context(const Tensor& tensor) { return context(tensor.device().index); }

/// The library's side, as it was given to attune_cuda_plugin().
extern const CudaCore* core;

/// Device memory for the length of a scope, from the library's caching allocator. It may be handed out again as soon as
/// the scope ends, while kernels still use it: what comes next is behind them on the stream.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Context& context, size_t bytes) : storage_(core->allocate(bytes, context.device)) {}
  Scratch(Scratch&& other) noexcept : storage_(std::exchange(other.storage_, nullptr)) {}
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(storage_, other.storage_);
    return *this;
  }
  ~Scratch() {
    if (storage_ != nullptr) core->free(storage_);
  }

  template <class T>
  T* data() const {
    return reinterpret_cast<T*>(storage_->data);
  }

 private:
  Storage* storage_ = nullptr;
};

}  // namespace attune::cuda
