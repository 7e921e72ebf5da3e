// What libattune_cuda.so exports: one function, which names everything else.

#include <nvtx3/nvToolsExt.h>

#include <cstring>
#include <type_traits>

#include "framework/error.h"
#include "framework/kernels/cuda/check.h"
#include "framework/kernels/cuda/context.h"
#include "framework/kernels/cuda/graph.h"
#include "framework/kernels/cuda/kernels.h"
#include "framework/kernels/cuda/transfer.h"

namespace attune::cuda {
namespace {

/// What a kernel was called with, as CudaPlugin says.
template <class Param>
void keep(const Param& param) {
  if constexpr (std::is_same_v<Param, Tensor>) cuda::keep_while_recorded(param);
  if constexpr (std::is_same_v<Param, AttentionSpec>) {
    for (const Tensor* x : {&param.mask.lengths, &param.mask.keep, &param.mask.blocks}) cuda::keep_while_recorded(*x);
  }
}

/// A kernel inside a range of its name for profilers. Costs nothing where none listens.
template <auto kFunction, const char* kName, class... Params>
void ranged(Params... params) {
  (keep(params), ...);
  struct Range {
    Range() { nvtxRangePushA(kName); }
    ~Range() { nvtxRangePop(); }
  } range;
  kFunction(params...);
}

template <auto kFunction, const char* kName, class... Params>
AnyFunction in_range(void (*)(Params...)) {
  return reinterpret_cast<AnyFunction>(&ranged<kFunction, kName, Params...>);
}

struct Entry {
  const char* name;
  AnyFunction function;
};

namespace names {
#define ATTUNE_CUDA_KERNEL(NAME) constexpr char NAME[] = #NAME;
ATTUNE_CUDA_KERNELS
#undef ATTUNE_CUDA_KERNEL
}  // namespace names

const Entry kEntries[] = {
#define ATTUNE_CUDA_KERNEL(NAME) {names::NAME, in_range<&cuda::NAME, names::NAME>(&cuda::NAME)},
    ATTUNE_CUDA_KERNELS
#undef ATTUNE_CUDA_KERNEL
};

AnyFunction find_kernel(const char* name, AnyFunction) {
  for (const Entry& entry : kEntries) {
    if (std::strcmp(entry.name, name) == 0) return entry.function;
  }
  return nullptr;
}

CudaProperties properties(int device) {
  cudaDeviceProp found;
  ATTUNE_CUDA(cudaGetDeviceProperties(&found, device));
  CudaProperties out{};
  std::strncpy(out.name, found.name, sizeof(out.name) - 1);
  out.memory = found.totalGlobalMem;
  out.major = found.major;
  out.minor = found.minor;
  out.multiprocessors = found.multiProcessorCount;
  ATTUNE_CUDA(cudaDriverGetVersion(&out.driver));
  return out;
}

void* reserve(size_t bytes, int device) {
  context(device);
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the allocator says it, after it has tried again
    return nullptr;
  }
  check(status, "cudaMalloc(&block, bytes)");
  return block;
}

void give_back(void* block, int device) noexcept {
  // cudaFree waits for the device. What fails here has failed before, in a call that could say so.
  try {
    context(device);  // not cudaSetDevice(), of which the thread's context would not know
    cudaFree(block);
  } catch (const DeviceError&) {
    return;
  }
}

void synchronize(int device) { ATTUNE_CUDA(cudaStreamSynchronize(context(device).stream)); }

void* stream(int device) { return context(device).stream; }

constexpr CudaPlugin kPlugin{ATTUNE_CUDA_INTERFACE,
                             device_count,
                             properties,
                             find_kernel,
                             nullptr,
                             reserve,
                             give_back,
                             to_device,
                             to_host,
                             begin_to_host,
                             end_to_host,
                             abandon,
                             begin_capture,
                             end_capture,
                             abandon_capture,
                             replay,
                             drop,
                             synchronize,
                             stream,
                             keep_while_recorded};

}  // namespace
}  // namespace attune::cuda

extern "C" __attribute__((visibility("default"))) const attune::CudaPlugin* attune_cuda_plugin(
    const attune::CudaCore* given) {
  attune::cuda::core = given;
  return &attune::cuda::kPlugin;
}
