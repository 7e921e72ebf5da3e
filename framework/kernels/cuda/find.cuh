#pragma once

#include <initializer_list>

#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/strided.h"

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

/// *found = 1 where an element of a walk is NaN or infinite.
template <class T>
__global__ void look_for_non_finite(const T* x, Walk<1> walk, uint32_t count, int* found) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  int64_t at[1];
  walk.offsets(i, at);
  if (!isfinite(load(x[at[0]]))) *found = 1;
}

/// A word of device memory that is 1 where one of the tensors that it looked at holds NaN or infinity, or somebody else
/// has set it, else 0. Waits for nothing: kernels read it.
template <class T>
class NonFinite {
 public:
  explicit NonFinite(const Context& c) : word_(c, sizeof(int)) {
    ATTUNE_CUDA(cudaMemsetAsync(word(), 0, sizeof(int), c.stream));
  }

  void look_at(const Context& c, const char* who, std::initializer_list<const Tensor*> tensors) {
    for (const Tensor* x : tensors) {
      const StridedShape<1> elements(x->shape(), {x});
      elements.for_each_part([&](const Walk<1>& walk, uint32_t count, const int64_t(&begin)[1]) {
        launch(c, who, look_for_non_finite<T>, thread_each(count), attune::cuda::data<T>(*x) + begin[0], walk, count,
               word());
      });
    }
  }
  int* word() const { return word_.data<int>(); }

 private:
  Scratch word_;
};

}  // namespace attune::cuda
