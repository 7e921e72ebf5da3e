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
using SortKey = std::conditional_t<sizeof(Compute<T>) == 4, uint32_t, uint64_t>;

template <class T>
__global__ void write_keys(const T* x, bool descending, SortKey<T>* keys, int64_t* places, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const SortKey<T> key = sort_key(load(x[i]));
  keys[i] = descending ? ~key : key;
  places[i] = i;
}

__global__ void write_rows(const int64_t* places, int64_t n, uint32_t* rows, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) rows[i] = static_cast<uint32_t>(places[i] / n);
}

__global__ void within_rows(const int64_t* places, int64_t n, int64_t* indices, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) indices[i] = places[i] % n;
}

/// places in the order of their keys' lowest `bits` bits, those of one key in their own.
template <class Key>
void sort_places(const Context& c, Key* keys, int64_t* places, int64_t* sorted, int64_t count, int bits) {
  const Scratch sorted_keys(c, static_cast<size_t>(count) * sizeof(Key));
  const auto run = [&](void* memory, size_t& bytes) {
    ATTUNE_CUDA(cub::DeviceRadixSort::SortPairs(memory, bytes, keys, sorted_keys.data<Key>(), places, sorted, count, 0,
                                                bits, c.stream));
  };
  size_t bytes = 0;
  run(nullptr, bytes);
  const Scratch memory(c, bytes);
  run(memory.data<std::byte>(), bytes);
}

}  // namespace

// All elements at once, then, in that order, by rows.
void argsort(const Tensor& x, bool descending, Tensor& indices) {
  const int64_t rows = x.shape()[0], n = x.shape()[1], count = rows * n;
  if (count == 0) return;
  if (rows > UINT32_MAX) throw ShapeError("argsort: more than 2^32 rows, of which a GPU can sort fewer");
  const Context& c = context(indices);
  const Scratch room(c, static_cast<size_t>(count) * sizeof(int64_t));
  const Scratch more(c, static_cast<size_t>(count) * sizeof(int64_t));
  auto* places = room.data<int64_t>();
  auto* sorted = more.data<int64_t>();
  const auto by_element = [&]<class T>(T) {
    using Key = SortKey<T>;
    const Scratch keys(c, static_cast<size_t>(count) * sizeof(Key));
    launch(c, "argsort", write_keys<T>, thread_each(count), data<T>(x), descending, keys.data<Key>(), places, count);
    sort_places(c, keys.data<Key>(), places, sorted, count, 8 * static_cast<int>(sizeof(Key)));
  };
  if (x.dtype() == DType::kInt64) {
    by_element(int64_t{});
  } else {
    visit_stored(x.dtype(), "argsort", by_element);
  }
  if (rows > 1) {
    const Scratch keys(c, static_cast<size_t>(count) * sizeof(uint32_t));
    launch(c, "argsort", write_rows, thread_each(count), sorted, n, keys.data<uint32_t>(), count);
    sort_places(c, keys.data<uint32_t>(), sorted, places, count, std::bit_width(static_cast<uint64_t>(rows - 1)));
    std::swap(places, sorted);
  }
  launch(c, "argsort", within_rows, thread_each(count), sorted, n, data<int64_t>(indices), count);
}

}  // namespace attune::cuda
