#include <cub/device/device_radix_sort.cuh>

#include <bit>

#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/top_k.h"

namespace attune::cuda {
namespace {

/// An unsigned integer whose order is that of the numbers, NaN being largest and both zeros equal.
__device__ uint64_t sort_key(int64_t x) { return static_cast<uint64_t>(x) ^ (uint64_t{1} << 63); }
__device__ uint64_t sort_key(double x) {
  if (x != x) return ~uint64_t{0};
  const auto bits = static_cast<uint64_t>(__double_as_longlong(x == 0 ? 0.0 : x));
  return bits >> 63 != 0 ? ~bits : bits | (uint64_t{1} << 63);
}
__device__ uint32_t sort_key(float x) {
  if (x != x) return ~uint32_t{0};
  const uint32_t bits = __float_as_uint(x == 0 ? 0.0f : x);
  return bits >> 31 != 0 ? ~bits : bits | (uint32_t{1} << 31);
}

template <class T>
constexpr int kKeyBits = sizeof(Compute<T>) == 4 ? 32 : 64;

/// Keys of elements, and above those of 32 bits the row.
template <class T>
__global__ void write_keys(const T* x, int64_t n, bool descending, uint64_t* keys, int64_t* places, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const auto key = sort_key(load(x[i]));
  keys[i] = descending ? static_cast<decltype(key)>(~key) : key;
  if constexpr (kKeyBits<T> == 32) keys[i] |= static_cast<uint64_t>(i / n) << 32;
  places[i] = i;
}

__global__ void write_rows(const int64_t* places, int64_t n, uint64_t* rows, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) rows[i] = static_cast<uint64_t>(places[i] / n);
}

__global__ void within_rows(const int64_t* places, int64_t n, int64_t* indices, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) indices[i] = places[i] % n;
}

/// places in the order of their keys' lowest `bits` bits, those of one key in their own. One type of key, since CUB's
/// sort takes more than a minute to compile for each.
void sort_places(const Context& c, const uint64_t* keys, const int64_t* places, int64_t* sorted, int64_t count,
                 int bits) {
  const Scratch sorted_keys(c, static_cast<size_t>(count) * sizeof(uint64_t));
  const auto run = [&](void* memory, size_t& bytes) {
    ATTUNE_CUDA(cub::DeviceRadixSort::SortPairs(memory, bytes, keys, sorted_keys.data<uint64_t>(), places, sorted,
                                                count, 0, bits, c.stream));
  };
  size_t bytes = 0;
  run(nullptr, bytes);
  const Scratch memory(c, bytes);
  run(memory.data<std::byte>(), bytes);
}

}  // namespace

// Keys of 32 bits are sorted together with their rows. Those of 64 are sorted all at once and then, in that order, by
// rows.
void argsort(const Tensor& x, bool descending, Tensor& indices) {
  const int64_t rows = x.shape()[0], n = x.shape()[1], count = rows * n;
  if (count == 0) return;
  if (rows > UINT32_MAX) throw ShapeError("argsort: more than 2^32 rows, of which a GPU can sort fewer");
  const Context& c = context(indices);
  const Scratch key_room(c, static_cast<size_t>(count) * sizeof(uint64_t));
  const Scratch room(c, static_cast<size_t>(count) * sizeof(int64_t));
  const Scratch more(c, static_cast<size_t>(count) * sizeof(int64_t));
  auto* keys = key_room.data<uint64_t>();
  auto* places = room.data<int64_t>();
  auto* sorted = more.data<int64_t>();
  const int row_bits = std::bit_width(static_cast<uint64_t>(rows - 1));
  const auto by_element = [&]<class T>(T) {
    launch(c, "argsort", write_keys<T>, thread_each(count), data<T>(x), n, descending, keys, places, count);
    if constexpr (kKeyBits<T> == 32) {
      sort_places(c, keys, places, sorted, count, 32 + row_bits);
    } else {
      sort_places(c, keys, places, sorted, count, 64);
      if (rows == 1) return;
      launch(c, "argsort", write_rows, thread_each(count), sorted, n, keys, count);
      sort_places(c, keys, sorted, places, count, row_bits);
      std::swap(places, sorted);
    }
  };
  if (x.dtype() == DType::kInt64) {
    by_element(int64_t{});
  } else {
    visit_stored(x.dtype(), "argsort", by_element);
  }
  launch(c, "argsort", within_rows, thread_each(count), sorted, n, data<int64_t>(indices), count);
}

}  // namespace attune::cuda
