#pragma once

#include "framework/kernels/cuda/number.cuh"

// Products of tiles of float32 numbers in shared memory, of at most 128 columns. A block has 8 lines of 16 threads; a
// line owns rows line, line + 8, ... of its block's tile, a thread of it columns lane, lane + 16, ... of their
// products.

namespace attune::cuda::tiles {

constexpr int kThreads = 128;  ///< of a block
constexpr int kLanes = 16;
constexpr int kLines = kThreads / kLanes;
constexpr int kOthers = 64;                 ///< rows of the tiles that a block walks over
constexpr int kColumns = kOthers / kLanes;  ///< of a thread
constexpr int kScoreStep = kOthers + 4;     ///< from one row of scores to the next: no bank conflicts, 16 bytes aligned

/// From one row of a tile to the next.
constexpr int row_step(int size) { return size + 4; }

__device__ inline int line_of_thread() { return static_cast<int>(threadIdx.x) / kLanes; }
__device__ inline int lane_of_thread() { return static_cast<int>(threadIdx.x) % kLanes; }

/// `rows` rows of `width` numbers, zeros around them. Whether this thread has met NaN or infinity.
template <int kRows, int kSize, class T>
__device__ bool load_tile(const T* from, int64_t step, int64_t rows, int64_t width, float* to) {
  bool odd = false;
#pragma unroll 8
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kSize; i += kThreads) {
    const int row = i / kSize;
    const int column = i % kSize;
    const float x = row < rows && column < width ? load(from[row * step + column]) : 0.0f;
    odd = odd || !isfinite(x);
    to[row * row_step(kSize) + column] = x;
  }
  return odd;
}

/// out[i][j] = row line + 8 i of a times row lane + 16 j of b.
template <int kSize, int kRows>
__device__ void products(const float* a, const float* b, float (&out)[kRows][kColumns]) {
  const float* own = a + line_of_thread() * row_step(kSize);
  const float* other = b + lane_of_thread() * row_step(kSize);
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) out[i][j] = 0;
  }
#pragma unroll 4
  for (int d = 0; d < kSize; d += 4) {
    float4 x[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      x[i] = *reinterpret_cast<const float4*>(own + i * kLines * row_step(kSize) + d);
    }
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const float4 y = *reinterpret_cast<const float4*>(other + j * kLanes * row_step(kSize) + d);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        out[i][j] += x[i].x * y.x;
        out[i][j] += x[i].y * y.y;
        out[i][j] += x[i].z * y.z;
        out[i][j] += x[i].w * y.w;
      }
    }
  }
}

/// The columns of a tile that a thread sums: kCount, in packs of kPack neighbours.
template <int kSize>
struct OwnColumns {
  static constexpr int kCount = kSize / kLanes;
  static constexpr int kPack = kCount < 4 ? kCount : 4;

  __device__ static int at(int i) { return (i / kPack * kLanes + lane_of_thread()) * kPack + i % kPack; }
};

/// sums[i] += row line + 8 i of scores times b, [kOthers, kSize]. kCareful: a score of 0 contributes nothing, whatever
/// b holds.
template <int kSize, int kRows, bool kCareful>
__device__ void add_products(const float* scores, const float* b, float (&sums)[kRows][OwnColumns<kSize>::kCount]) {
  using Own = OwnColumns<kSize>;
  using Columns = Pack<float, Own::kPack>;
  const float* own = scores + line_of_thread() * kScoreStep;
#pragma unroll 2
  for (int s = 0; s < kOthers; s += 4) {
    Pack<float, 4> weight[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      weight[i] = *reinterpret_cast<const Pack<float, 4>*>(own + i * kLines * kScoreStep + s);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const float* row = b + (s + k) * row_step(kSize);
#pragma unroll
      for (int part = 0; part < Own::kCount / Own::kPack; ++part) {
        const Columns x = *reinterpret_cast<const Columns*>(row + Own::at(part * Own::kPack));
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
#pragma unroll
          for (int e = 0; e < Own::kPack; ++e) {
            float& sum = sums[i][part * Own::kPack + e];
            if (!kCareful || weight[i].value[k] != 0) sum += weight[i].value[k] * x.value[e];
          }
        }
      }
    }
  }
}

template <int kSize, int kRows>
__device__ void add_products(bool careful, const float* scores, const float* b,
                             float (&sums)[kRows][OwnColumns<kSize>::kCount]) {
  __syncwarp();  // a line's rows of scores are written and read by its own threads
  if (careful) {
    add_products<kSize, kRows, true>(scores, b, sums);
  } else {
    add_products<kSize, kRows, false>(scores, b, sums);
  }
  __syncwarp();
}

/// Over the threads of a line.
__device__ inline float line_max(float x) {
  for (int step = kLanes / 2; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(~0u, x, step);
    x = other > x ? other : x;
  }
  return x;
}
__device__ inline float line_sum(float x) {
  for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

}  // namespace attune::cuda::tiles
