#pragma once

#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/packed.h"
#include "framework/kernels/cuda/strided.h"

namespace attune::cuda {

template <class F, class C>
__device__ __forceinline__ C apply(const F& f, const C (&x)[1]) {
  return f.forward(x[0]);
}
template <class F, class C>
__device__ __forceinline__ C apply(const F& f, const C (&x)[2]) {
  return f.forward(x[0], x[1]);
}

template <class T, int N>
struct Inputs {
  const T* data[N];
};

/// out[i] = f(in[0][i], ...) for i < n. Every thread takes 16 bytes of each operand.
template <class F, class T, int N>
__global__ void map_contiguous(F f, Inputs<T, N> in, T* out, int64_t n, bool packs) {
  using P = Pack<T>;
  constexpr int kCount = 16 / sizeof(T);
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kCount;
  if (at >= n) return;
  const int count = n - at < kCount ? static_cast<int>(n - at) : kCount;
  const bool whole = packs && count == kCount;
  P x[N];
#pragma unroll
  for (int k = 0; k < N; ++k) {
    if (whole) {
      x[k] = *reinterpret_cast<const P*>(in.data[k] + at);
    } else {
#pragma unroll
      for (int j = 0; j < kCount; ++j) x[k].value[j] = j < count ? in.data[k][at + j] : T{};
    }
  }
  P y;
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    Compute<T> operands[N];
#pragma unroll
    for (int k = 0; k < N; ++k) operands[k] = load(x[k].value[j]);
    y.value[j] = store<T>(apply(f, operands));
  }
  if (whole) {
    *reinterpret_cast<P*>(out + at) = y;
  } else {
#pragma unroll
    for (int j = 0; j < kCount; ++j) {
      if (j < count) out[at + j] = y.value[j];
    }
  }
}

/// The same over a walk; operand N is the result. Every thread takes `run` neighbours of the innermost axis.
template <class F, class T, int N>
__global__ void map_strided(F f, Inputs<T, N> in, T* out, Walk<N + 1> walk, uint32_t count, uint32_t run) {
  const uint32_t first = (blockIdx.x * blockDim.x + threadIdx.x) * run;
  if (first >= count) return;
  int64_t at[N + 1];
  walk.offsets(first, at);
  for (uint32_t j = 0; j < run; ++j) {
    Compute<T> operands[N];
#pragma unroll
    for (int k = 0; k < N; ++k) operands[k] = load(in.data[k][at[k]]);
    out[at[N]] = store<T>(apply(f, operands));
#pragma unroll
    for (int k = 0; k <= N; ++k) at[k] += walk.stride[walk.rank - 1][k];
  }
}

template <class F, class T, int N>
void map_neighbours(const Context& c, const char* who, const F& f, const Inputs<T, N>& in, T* out, int64_t n) {
  bool packs = aligned(out);
  for (int k = 0; k < N; ++k) packs = packs && aligned(in.data[k]);
  launch(c, who, map_contiguous<F, T, N>, thread_each(ceil_div(n, 16 / sizeof(T))), f, in, out, n, packs);
}

/// y = f(x): strided and broadcast operands are packed first, since they are rare and every formula is compiled once
/// a dtype.
template <class F>
void map(const char* who, const F& f, const Tensor& x, Tensor& y) {
  const Context& c = context(y);
  visit_stored(y.dtype(), who, [&]<class T>(T) {
    const Packed in(c, x, y.shape());
    Unpacked out(c, y);
    map_neighbours<F, T, 1>(c, who, f, {{in.data<T>()}}, out.template data<T>(), y.numel());
    out.finish();
  });
}

/// y = f(a, b), in the same way.
template <class F>
void map(const char* who, const F& f, const Tensor& a, const Tensor& b, Tensor& y) {
  const Context& c = context(y);
  visit_stored(y.dtype(), who, [&]<class T>(T) {
    const Packed first(c, a, y.shape());
    const Packed second(c, b, y.shape());
    Unpacked out(c, y);
    map_neighbours<F, T, 2>(c, who, f, {{first.data<T>(), second.data<T>()}}, out.template data<T>(), y.numel());
    out.finish();
  });
}

/// y = f(a, b), each broadcast to y's shape.
template <class F>
void map_broadcast(const char* who, const F& f, const Tensor& a, const Tensor& b, Tensor& y) {
  const Context& c = context(y);
  const StridedShape<3> shape(y.shape(), {&a, &b, &y});
  visit_stored(y.dtype(), who, [&]<class T>(T) {
    const T* from_a = data<T>(a);
    const T* from_b = data<T>(b);
    T* to = data<T>(y);
    if (shape.contiguous(0) && shape.contiguous(1) && shape.contiguous(2)) {
      return map_neighbours<F, T, 2>(c, who, f, {{from_a, from_b}}, to, shape.numel());
    }
    shape.for_each_part([&](const Walk<3>& walk, uint32_t count, const int64_t(&at)[3]) {
      const uint32_t run = walk.extent[walk.rank - 1].divisor % 4 == 0 ? 4 : 1;
      launch(c, who, map_strided<F, T, 2>, thread_each(count / run), f, Inputs<T, 2>{{from_a + at[0], from_b + at[1]}},
             to + at[2], walk, count, run);
    });
  });
}

}  // namespace attune::cuda
