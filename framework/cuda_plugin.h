#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "framework/dtype.h"
#include "framework/storage.h"

namespace attune {

// The seam between the library and its CUDA backend, libattune_cuda.so: a shared library of its own, opened at the
// first use of a CUDA device, so that one build runs on machines with and without CUDA. It sees the library's headers
// only.

class Tensor;

using AnyFunction = void (*)();

inline constexpr int kMaxCudaDevices = 16;

/// What the library offers to the backend: its caching allocator.
struct CudaCore {
  Storage* (*allocate)(size_t bytes, int device);
  void (*free)(Storage* storage) noexcept;
};

struct CudaProperties {
  char name[256];
  size_t memory;  ///< bytes
  int major;      ///< compute capability
  int minor;
  int multiprocessors;
  int driver;  ///< CUDA version that the driver supports, 13000 for 13.0
};

/// A copy to the host that has begun; the backend's.
struct Transfer;

/// A step that was recorded; the backend's.
struct StepGraph;

/// What the backend offers. Functions throw DeviceError, quoting the call that failed.
struct CudaPlugin {
  /// ATTUNE_CUDA_INTERFACE, a hash of the headers that both sides were compiled with (CMakeLists.txt).
  const char* interface;
  /// How many devices there are, at least 1; throws what is missing.
  int (*device_count)();
  CudaProperties (*properties)(int device);
  /// The CUDA function of a kernel, nullptr where there is none. `cpu`: its CPU function, which stands for it where
  /// "device memory" is the host's (an emulated device, for tests).
  AnyFunction (*find_kernel)(const char* name, AnyFunction cpu);
  /// nullptr where kernels take bfloat16 themselves. Otherwise it is converted around them as on the CPU, and this sees
  /// the dtypes of a kernel's operands before; of those that are not there, int64.
  void (*widened)(const char* kernel, std::span<const DType> operands);
  /// nullptr where the device has no more memory.
  void* (*reserve)(size_t bytes, int device);
  void (*give_back)(void* block, int device) noexcept;
  // In order with the kernels of the device; to_host waits.
  void (*to_device)(void* to, const void* from, size_t bytes, int device);
  void (*to_host)(void* to, const void* from, size_t bytes, int device);
  // The same in two steps, of which the second waits for what has not arrived. Both end the life of a transfer.
  Transfer* (*begin_to_host)(const void* from, size_t bytes, int device);
  void (*end_to_host)(Transfer* transfer, void* to);
  void (*abandon)(Transfer* transfer) noexcept;
  // What is given to the device between these is recorded instead of computed; copies to and from the host throw, and
  // end_capture does where the recording cannot be used. Tensors that kernels are called with stay as long as the
  // graph, but those of the memory of recorded steps (is_recorded()), which is never given to anybody else.
  void (*begin_capture)(int device);
  StepGraph* (*end_capture)(int device);
  void (*abandon_capture)(int device) noexcept;
  /// Computes what was recorded, with `draws` added to where its random draws began.
  void (*replay)(StepGraph* graph, uint64_t draws);
  void (*drop)(StepGraph* graph) noexcept;
  void (*synchronize)(int device);
  /// The cudaStream_t that computes; `device` becomes that of the calling thread.
  void* (*stream)(int device);
  /// Where something is recorded on x's device: what x lies in stays as long as the graph.
  void (*keep)(const Tensor& x);
};

/// The one function that the backend exports, attune_cuda_plugin().
using OpenCudaPlugin = const CudaPlugin* (*)(const CudaCore* core);

/// Throws DeviceError where the backend cannot be used.
const CudaPlugin& cuda_plugin();

// CudaCore.
Storage* allocate_cuda(size_t bytes, int device);
void free_cuda(Storage* storage) noexcept;

}  // namespace attune
