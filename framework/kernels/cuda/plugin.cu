// What libattune_cuda.so exports: one function, which names everything else.

#include <nvtx3/nvToolsExt.h>

#include <cstring>

#include "framework/kernels/accumulate.h"
#include "framework/kernels/additive.h"
#include "framework/kernels/alignment.h"
#include "framework/kernels/attention.h"
#include "framework/kernels/batch_norm.h"
#include "framework/kernels/conv.h"
#include "framework/kernels/copy.h"
#include "framework/kernels/cuda/check.h"
#include "framework/kernels/cuda/context.h"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/gemm.h"
#include "framework/kernels/index.h"
#include "framework/kernels/linear.h"
#include "framework/kernels/loss.h"
#include "framework/kernels/mask.h"
#include "framework/kernels/norm.h"
#include "framework/kernels/optim.h"
#include "framework/kernels/pool.h"
#include "framework/kernels/random.h"
#include "framework/kernels/recurrent.h"
#include "framework/kernels/reduce.h"
#include "framework/kernels/rotary.h"
#include "framework/kernels/softmax.h"
#include "framework/kernels/top_k.h"
#include "framework/kernels/weighted_sum.h"

namespace attune::cuda {
namespace {

/// A kernel inside a range of its name for profilers. Costs nothing where none listens.
template <auto kFunction, const char* kName, class... Params>
void ranged(Params... params) {
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

// The kernels of this backend by name. What the library lacks here does not link.
#define ATTUNE_CUDA_UNARY(NAME, FORMULA) X(NAME) X(NAME##_backward)
#define ATTUNE_CUDA_BINARY(NAME, FORMULA) X(NAME)
#define ATTUNE_CUDA_KERNELS                 \
  X(copy)                                   \
  X(fill)                                   \
  X(accumulate)                             \
  X(find_non_finite)                        \
  ATTUNE_UNARY_KERNELS(ATTUNE_CUDA_UNARY)   \
  ATTUNE_BINARY_KERNELS(ATTUNE_CUDA_BINARY) \
  X(affine)                                 \
  X(clamp)                                  \
  X(clamp_backward)                         \
  X(where)                                  \
  X(prefers_first)                          \
  X(logical_and)                            \
  X(logical_not)                            \
  X(take_rows)                              \
  X(add_rows)                               \
  X(take_along)                             \
  X(add_along)                              \
  X(find_outside)                           \
  X(dropout)                                \
  X(sum_to)                                 \
  X(max)                                    \
  X(masked_mean)                            \
  X(masked_mean_backward)                   \
  X(softmax)                                \
  X(masked_softmax)                         \
  X(softmax_backward)                       \
  X(log_softmax)                            \
  X(log_softmax_backward)                   \
  X(cross_entropy)                          \
  X(cross_entropy_backward)                 \
  X(add_layer_norm)                         \
  X(add_layer_norm_backward)                \
  X(rms_norm)                               \
  X(rms_norm_backward)                      \
  X(sgd_step)                               \
  X(adam_step)                              \
  X(sum_squares)                            \
  X(move_average)                           \
  X(exchange)                               \
  X(matmul)                                 \
  X(linear)                                 \
  X(linear_backward)                        \
  X(attention)                              \
  X(attention_backward)                     \
  X(rotary)                                 \
  X(weighted_sum)                           \
  X(weighted_sum_backward)                  \
  X(batch_statistics)                       \
  X(batch_norm)                             \
  X(batch_norm_backward)                    \
  X(max_pool2d)                             \
  X(max_pool2d_backward)                    \
  X(average_pool2d)                         \
  X(average_pool2d_backward)                \
  X(additive_scores)                        \
  X(additive_scores_backward)               \
  X(monotonic_alignment)                    \
  X(monotonic_alignment_backward)           \
  X(conv2d)                                 \
  X(conv2d_backward_input)                  \
  X(conv2d_backward_weight)                 \
  X(recurrent)                              \
  X(recurrent_backward)                     \
  X(pack_steps)                             \
  X(unpack_steps)                           \
  X(top_k)                                  \
  X(log_sum_exp)

namespace names {
#define X(NAME) constexpr char NAME[] = #NAME;
ATTUNE_CUDA_KERNELS
#undef X
}  // namespace names

const Entry kEntries[] = {
#define X(NAME) {names::NAME, in_range<&cuda::NAME, names::NAME>(&cuda::NAME)},
    ATTUNE_CUDA_KERNELS
#undef X
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
  cudaSetDevice(device);
  cudaFree(block);
}

void to_device(void* to, const void* from, size_t bytes, int device) {
  ATTUNE_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, context(device).stream));
}

void to_host(void* to, const void* from, size_t bytes, int device) {
  const Context& c = context(device);
  ATTUNE_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, c.stream));
  ATTUNE_CUDA(cudaStreamSynchronize(c.stream));
}

void synchronize(int device) { ATTUNE_CUDA(cudaStreamSynchronize(context(device).stream)); }

constexpr CudaPlugin kPlugin{
    ATTUNE_CUDA_INTERFACE, device_count, properties, find_kernel, reserve, give_back, to_device, to_host, synchronize};

}  // namespace
}  // namespace attune::cuda

extern "C" __attribute__((visibility("default"))) const attune::CudaPlugin* attune_cuda_plugin(
    const attune::CudaCore* given) {
  attune::cuda::core = given;
  return &attune::cuda::kPlugin;
}
