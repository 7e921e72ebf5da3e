#pragma once

#include <cstdint>
#include <type_traits>

#include "framework/dtype.h"
#include "framework/kernels/cuda/context.h"
#include "framework/tensor.h"

namespace attune::cuda {

/// What elements of T are computed in: float for bfloat16.
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, bfloat16>, float, T>;

template <class T>
__device__ __forceinline__ Compute<T> load(T x) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return __uint_as_float(static_cast<uint32_t>(x.bits) << 16);
  } else {
    return x;
  }
}

/// Rounds to nearest even.
template <class T, class C>
__device__ __forceinline__ T store(C x) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    bfloat16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(static_cast<float>(x)));
    return y;
  } else {
    return static_cast<T>(x);
  }
}

/// Neighbours that are moved by one instruction.
template <class T, int kCount = 16 / sizeof(T)>
struct alignas(sizeof(T) * kCount) Pack {
  T value[kCount];
};

/// f(T{}) with the stored type of a floating dtype: float, double or bfloat16.
template <class F>
void visit_stored(DType dtype, const char* who, F&& f) {
  if (dtype == DType::kBFloat16) return f(bfloat16{});
  visit_floating(dtype, who, f);
}

/// First element; nullptr for an optional operand that is not there.
template <class T>
const T* data(const Tensor& x) {
  return reinterpret_cast<const T*>(x.raw());
}
template <class T>
T* data(Tensor& x) {
  return reinterpret_cast<T*>(x.raw());
}

inline bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

}  // namespace attune::cuda
