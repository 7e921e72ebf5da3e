#pragma once

#include <algorithm>

#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/long_sum.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/reduction.h"

namespace attune::cuda {

constexpr int kColumns = 32;  ///< of a block
constexpr int kLines = 8;     ///< rows that a block reads at once

/// value(row, column) summed over rows begin ... end - 1 of 32 columns; every thread of the first line has the sum of
/// its column. Called by all 256 threads of a block.
template <class C, class Value>
__device__ C sum_of_column(int64_t begin, int64_t end, bool inside, const Value& value) {
  const auto line = static_cast<int>(threadIdx.x / kColumns);
  const auto lane = static_cast<int>(threadIdx.x % kColumns);
  LongSum<C> own;
  if (inside) {
    for (int64_t r = begin + line; r < end; r += kLines) own.add(value(r));
  }
  double sum = own.value();
  __shared__ double lines[kLines][kColumns];
  __syncthreads();  // what was read of the time before
  lines[line][lane] = sum;
  __syncthreads();
  if (line == 0) {
    for (int k = 1; k < kLines; ++k) sum += lines[k][lane];
  }
  return static_cast<C>(sum);
}

/// Into how many parts sums over `rows` are cut so that `blocks` blocks a part fill the device: sums do not depend on
/// what else runs, only on the device.
inline int64_t parts_of_rows(const Context& c, int64_t rows, int64_t blocks) {
  const int64_t wanted = ceil_div(4 * c.multiprocessors, std::max<int64_t>(1, blocks));
  return std::clamp<int64_t>(std::min(wanted, rows / 64), 1, 1024);
}

/// to[j] = (to[j] +) sum of parts[p * step + j] over p, in their order.
template <class T, class C>
__global__ void add_parts(const C* parts, int64_t count, int64_t columns, int64_t step, bool accumulate, T* to) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (j >= columns) return;
  double total = accumulate ? static_cast<double>(load(to[j])) : 0;
  for (int64_t p = 0; p < count; ++p) total += static_cast<double>(parts[p * step + j]);
  to[j] = store<T>(static_cast<C>(total));
}

/// The same, written or added to the gradient of a parameter, which is of T or of what T is computed in.
template <class T>
void add_parts_to(const Context& c, const char* who, const Compute<T>* parts, int64_t count, int64_t columns,
                  int64_t step, bool accumulate, Tensor& to) {
  using C = Compute<T>;
  if (to.dtype() == kDTypeOf<C>) {
    launch(c, who, add_parts<C, C>, thread_each(columns), parts, count, columns, step, accumulate, data<C>(to));
  } else {
    launch(c, who, add_parts<T, C>, thread_each(columns), parts, count, columns, step, accumulate, data<T>(to));
  }
}

}  // namespace attune::cuda
