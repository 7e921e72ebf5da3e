#pragma once

#include <cstdint>

#include "framework/kernels/cuda/launch.cuh"

namespace attune::cuda {

// Rows are computed by teams: a warp for short rows, eight rows a block; a block of 256 threads for long ones.

/// The threads that share a row. kThreads: 32 or 256.
template <int kThreads>
struct Team {
  static constexpr int kSize = kThreads;
  static constexpr int kRows = 256 / kThreads;  ///< of a block

  /// The row of this thread's team; a block's last teams may have none.
  __device__ static int64_t row() {
    return static_cast<int64_t>(blockIdx.x) * kRows + threadIdx.x / static_cast<unsigned>(kThreads);
  }
  /// This thread's place in its team.
  __device__ static int rank() { return static_cast<int>(threadIdx.x % static_cast<unsigned>(kThreads)); }

  /// combine(...) of every thread's value, the same in each; all threads of the team call it.
  template <class V, class Combine>
  __device__ static V all(V value, const Combine& combine) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) value = combine(value, shuffle_xor(value, step));
    if constexpr (kThreads > 32) {
      constexpr int kWarps = kThreads / 32;
      __shared__ alignas(V) unsigned char bytes[kWarps * sizeof(V)];  // V may have constructors
      V* of_warps = reinterpret_cast<V*>(bytes);
      __syncthreads();  // what was read of the time before
      if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
      __syncthreads();
      value = of_warps[0];
#pragma unroll
      for (int warp = 1; warp < kWarps; ++warp) value = combine(value, of_warps[warp]);
    }
    return value;
  }

  template <class V>
  __device__ static V sum(V value) {
    return all(value, [](V a, V b) { return a + b; });
  }

 private:
  template <class V>
  __device__ static V shuffle_xor(V value, int step) {
    if constexpr (sizeof(V) <= 8 && (std::is_arithmetic_v<V>)) {
      return __shfl_xor_sync(~0u, value, step);
    } else {
      return value.shuffled(step);
    }
  }
};

/// f(Team<...>{}, grid) with the team for rows of n elements.
template <class F>
void visit_team(int64_t rows, int64_t n, F&& f) {
  if (n <= 1024) {
    f(Team<32>{}, Grid{ceil_div(rows, Team<32>::kRows), 256});
  } else {
    f(Team<256>{}, Grid{rows, 256});
  }
}

}  // namespace attune::cuda
