#include "framework/kernels/compare.h"
#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/strided.h"

namespace attune::cuda {
namespace {

template <class C>
__device__ bool holds(Comparison comparison, C a, C b) {
  switch (comparison) {
    case Comparison::kEqual:
      return a == b;
    case Comparison::kNotEqual:
      return a != b;
    case Comparison::kLess:
      return a < b;
    case Comparison::kLessEqual:
      return a <= b;
    case Comparison::kGreater:
      return a > b;
    default:
      return a >= b;
  }
}

template <class T>
__global__ void compare_elements(const T* a, const T* b, Comparison comparison, bool* y, Walk<3> walk, uint32_t count) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  int64_t at[3];
  walk.offsets(i, at);
  y[at[2]] = holds<Compute<T>>(comparison, load(a[at[0]]), load(b[at[1]]));
}

}  // namespace

void compare(const Tensor& a, const Tensor& b, Comparison comparison, Tensor& y) {
  const StridedShape<3> shape(y.shape(), {&a, &b, &y});
  visit_any(a.dtype(), [&]<class T>(T) {
    shape.for_each_part([&](const Walk<3>& walk, uint32_t count, const int64_t(&at)[3]) {
      launch(context(y), "compare", compare_elements<T>, thread_each(count), data<T>(a) + at[0], data<T>(b) + at[1],
             comparison, data<bool>(y) + at[2], walk, count);
    });
  });
}

}  // namespace attune::cuda
