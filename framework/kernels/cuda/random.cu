#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/philox.cuh"
#include "framework/kernels/random.h"

namespace attune::cuda {
namespace {

/// A thread for every element, of two words.
template <bool kNormal, class T>
__global__ void draw(Drop<float> words, T* y, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const uint32_t first = words.word(2 * i);
  const uint32_t second = words.word(2 * i + 1);
  if constexpr (kNormal) {
    y[i] = store<T>(sqrt(-2 * log(radius_of(first))) * cospi(2 * fraction_of(second)));
  } else {
    y[i] = store<T>(uniform_of<Compute<T>>(first, second));
  }
}

template <bool kNormal>
void draw_all(const char* who, RandomState state, Tensor& y) {
  const Context& c = context(y);
  visit_stored(y.dtype(), who, [&]<class T>(T) {
    launch(c, who, draw<kNormal, T>, thread_each(y.numel()), Drop<float>(c, state, 0), data<T>(y), y.numel());
  });
}

}  // namespace

void draw_uniform(RandomState state, Tensor& y) { draw_all<false>("rand", state, y); }

void draw_normal(RandomState state, Tensor& y) { draw_all<true>("randn", state, y); }

}  // namespace attune::cuda
