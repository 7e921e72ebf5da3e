#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/rotary.h"

namespace attune::cuda {
namespace {

/// A thread for every element of y [B, N, H, K]. The tables are float32 beside bfloat16.
template <class T>
__global__ void turn(const T* x, int64_t sample, int64_t position, int64_t head, const Compute<T>* cosines,
                     const Compute<T>* sines, bool halves, Compute<T> sign, int64_t positions, int64_t heads,
                     int64_t size, int64_t pairs, T* y, int64_t count) {
  using C = Compute<T>;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t i = at % size;
  const int64_t h = at / size % heads;
  const int64_t n = at / size / heads % positions;
  const T* from = x + at / size / heads / positions * sample + n * position + h * head;
  if (i >= 2 * pairs) {
    y[at] = from[i];
    return;
  }
  const int64_t pair = halves ? i % pairs : i / 2;
  const bool second = halves ? i >= pairs : i % 2 == 1;
  const C cosine = cosines[n * pairs + pair];
  const C sine = sign * sines[n * pairs + pair];
  const C own = load(from[i]);
  const C other = load(from[halves ? (second ? i - pairs : i + pairs) : (second ? i - 1 : i + 1)]);
  y[at] = store<T>(second ? own * cosine + other * sine : own * cosine - other * sine);
}

}  // namespace

void rotary(const Tensor& x, const Tensor& cosines, const Tensor& sines, RotaryLayout layout, double sign, Tensor& y) {
  visit_stored(x.dtype(), "rotary", [&]<class T>(T) {
    using C = Compute<T>;
    launch(context(x), "rotary", turn<T>, thread_each(y.numel()), data<T>(x), x.strides()[0], x.strides()[1],
           x.strides()[2], data<C>(cosines), data<C>(sines), layout == RotaryLayout::kHalves, static_cast<C>(sign),
           x.dim(1), x.dim(2), x.dim(3), cosines.dim(1), data<T>(y), y.numel());
  });
}

}  // namespace attune::cuda
