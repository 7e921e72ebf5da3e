#pragma once

#include "framework/kernels/cuda/launch.cuh"

namespace attune::cuda {

template <class Test>
__global__ void find_smallest(Test test, int64_t n, unsigned long long* first) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n && test(i)) atomicMin(first, static_cast<unsigned long long>(i));
}

/// First i < n with test(i), -1 when there is none. Waits for the device.
template <class Test>
int64_t find_first(const Context& c, const char* who, const Test& test, int64_t n) {
  if (n == 0) return -1;
  const Scratch scratch(c, sizeof(unsigned long long));
  auto* first = scratch.data<unsigned long long>();
  ATTUNE_CUDA(cudaMemsetAsync(first, 0xff, sizeof(*first), c.stream));
  launch(c, who, find_smallest<Test>, thread_each(n), test, n, first);
  int64_t found = -1;  // all bits set, as what no index is smaller than
  ATTUNE_CUDA(cudaMemcpyAsync(&found, first, sizeof(found), cudaMemcpyDeviceToHost, c.stream));
  ATTUNE_CUDA(cudaStreamSynchronize(c.stream));
  return found;
}

}  // namespace attune::cuda
