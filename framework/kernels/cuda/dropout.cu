#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/packed.h"
#include "framework/kernels/cuda/philox.cuh"
#include "framework/kernels/random.h"

namespace attune::cuda {
namespace {

/// A thread for every counter: its four words belong to elements 16 apart.
template <class T>
__global__ void drop(const T* x, Drop<Compute<T>> dropout, T* y, int64_t n) {
  const int64_t counter = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t first = counter / 16 * 64 + counter % 16;
  if (first >= n) return;
  const PhiloxBlock block = dropout.block(static_cast<uint64_t>(counter));
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const int64_t i = first + 16 * k;
    if (i < n) y[i] = store<T>(dropout.kept(load(x[i]), block.word[k]));
  }
}

}  // namespace

void dropout(const Tensor& x, RandomState state, double p, Tensor& y) {
  const Context& c = context(y);
  const Packed from(c, x);
  visit_stored(x.dtype(), "dropout", [&]<class T>(T) {
    launch(c, "dropout", drop<T>, thread_each(ceil_div(y.numel(), 64) * 16), from.data<T>(),
           Drop<Compute<T>>(c, state, p), data<T>(y), y.numel());
  });
}

}  // namespace attune::cuda
