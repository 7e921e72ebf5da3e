#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/team.cuh"
#include "framework/kernels/rotary.h"

namespace attune::cuda {
namespace {

/// A warp for every head of every position: y [B, N, H, K]. The tables are float32 beside bfloat16.
template <class T>
__global__ void turn(const T* x, int64_t sample, int64_t position, int64_t head, const Compute<T>* cosines,
                     const Compute<T>* sines, bool halves, Compute<T> sign, int64_t positions, int64_t heads,
                     int64_t size, int64_t pairs, T* y, int64_t rows) {
  using C = Compute<T>;
  const int64_t row = Team<32>::row();
  if (row >= rows) return;
  const int64_t h = row % heads;
  const int64_t n = row / heads % positions;
  const T* from = x + row / heads / positions * sample + n * position + h * head;
  T* to = y + row * size;
  for (int64_t pair = Team<32>::rank(); pair < pairs; pair += 32) {
    const int64_t first = halves ? pair : 2 * pair;
    const int64_t second = halves ? pair + pairs : 2 * pair + 1;
    const C cosine = cosines[n * pairs + pair];
    const C sine = sign * sines[n * pairs + pair];
    const C a = load(from[first]);
    const C b = load(from[second]);
    to[first] = store<T>(a * cosine - b * sine);
    to[second] = store<T>(b * cosine + a * sine);
  }
  for (int64_t i = 2 * pairs + Team<32>::rank(); i < size; i += 32) to[i] = from[i];
}

}  // namespace

void rotary(const Tensor& x, const Tensor& cosines, const Tensor& sines, RotaryLayout layout, double sign, Tensor& y) {
  visit_stored(x.dtype(), "rotary", [&]<class T>(T) {
    using C = Compute<T>;
    const int64_t rows = x.dim(0) * x.dim(1) * x.dim(2);
    launch(context(x), "rotary", turn<T>, Grid{ceil_div(rows, Team<32>::kRows), 256}, data<T>(x), x.strides()[0],
           x.strides()[1], x.strides()[2], data<C>(cosines), data<C>(sines), layout == RotaryLayout::kHalves,
           static_cast<C>(sign), x.dim(1), x.dim(2), x.dim(3), cosines.dim(1), data<T>(y), rows);
  });
}

}  // namespace attune::cuda
