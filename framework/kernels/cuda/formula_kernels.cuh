#pragma once

#include "framework/kernels/cuda/attention_rows.cuh"
#include "framework/kernels/cuda/attention_tiles.cuh"

// The kernels of attention that have a formula for scores inside, and of masks. The backend has those without a
// formula; a program that brings one compiles its own (formula.cuh), and hands them to the backend by their addresses.

namespace attune::cuda {

enum FormulaKernelFamily : int { kForwardTiles, kQueryTiles, kKeyTiles, kForwardRows, kQueryRows, kKeyRows, kMask };

template <class T>
constexpr DType kDType = std::is_same_v<T, bfloat16> ? DType::kBFloat16
                         : std::is_same_v<T, double> ? DType::kFloat64
                                                     : DType::kFloat32;

template <class F, class T>
const void* tile_kernel_of(const FormulaKernelName& name) {
  return tiles::visit_size(name.size, [&](auto size) -> const void* {
    constexpr int kSize = decltype(size)::value;
    constexpr int kRows = tiles::rows_of_thread(kSize);
    if (name.family == kForwardTiles) return address_of<&tiles::forward_tiles<kSize, kRows, T, F>>();
    if (name.family == kQueryTiles) return address_of<&tiles::backward_tiles<kSize, kRows, false, T, F>>();
    return address_of<&tiles::backward_tiles<kSize, kRows, true, T, F>>();
  });
}

template <class F, class T>
const void* row_kernel_of(const FormulaKernelName& name) {
  if (name.family == kForwardRows) return address_of<&rows::forward<T, F>>();
  if (name.family == kQueryRows) return address_of<&rows::backward_queries<T, F>>();
  return address_of<&rows::backward_keys<T, F>>();
}

/// Of a formula that was compiled for operands of these types, none: of all; nullptr for others.
template <class F, class... Numbers>
const void* attention_kernel(const FormulaKernelName& name) {
  if constexpr (sizeof...(Numbers) == 0) return attention_kernel<F, float, bfloat16, double>(name);
  const void* found = nullptr;
  const auto look = [&]<class T>(T) {
    if (name.dtype != kDType<T>) return;
    if constexpr (!std::is_same_v<T, double>) {
      if (name.family < kForwardRows) {
        found = tile_kernel_of<F, T>(name);
        return;
      }
    }
    found = row_kernel_of<F, T>(name);
  };
  (look(Numbers{}), ...);
  return found;
}

/// keep [B, H, T, S]: what `before` and the formula allow. A thread for every element.
template <class F>
__global__ void mask_with(Kept before, bool* keep, int64_t batch, int64_t heads, int64_t queries, int64_t keys,
                          F formula) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= batch * heads * queries * keys) return;
  const int64_t s = i % keys, t = i / keys % queries, h = i / keys / queries % heads, b = i / keys / queries / heads;
  keep[i] = before.allows(b, h, t, s) && formula(place_of(b, h, t, s, queries, keys));
}

}  // namespace attune::cuda
