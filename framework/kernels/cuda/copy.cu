#include <cstring>

#include "framework/kernels/copy.h"
#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/packed.h"
#include "framework/kernels/cuda/strided.h"

namespace attune::cuda {
namespace {

template <class To, class From>
__device__ __forceinline__ To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<From, bfloat16>) {
    return convert<To>(load(value));
  } else if constexpr (std::is_same_v<To, bfloat16>) {
    return store<bfloat16>(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != From{0};
  } else {
    return static_cast<To>(value);
  }
}

/// y = x over a walk of both. Every thread takes `run` neighbours of the innermost axis.
template <class To, class From>
__global__ void copy_strided(const From* x, To* y, Walk<2> walk, uint32_t count, uint32_t run) {
  const uint32_t first = (blockIdx.x * blockDim.x + threadIdx.x) * run;
  if (first >= count) return;
  int64_t at[2];
  walk.offsets(first, at);
  for (uint32_t j = 0; j < run; ++j) {
    y[at[1]] = convert<To>(x[at[0]]);
    at[0] += walk.stride[walk.rank - 1][0];
    at[1] += walk.stride[walk.rank - 1][1];
  }
}

template <class T>
__global__ void fill_strided(T* y, T value, Walk<1> walk, uint32_t count) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  int64_t at[1];
  walk.offsets(i, at);
  y[at[0]] = value;
}

/// Number: in which the elements are computed.
template <class T, class Number>
__global__ void write_progression(T* y, Number begin, Number step, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) y[i] = static_cast<T>(begin + static_cast<Number>(i) * step);
}

template <class To, class From>
void copy_parts(const Context& c, const StridedShape<2>& shape, const From* x, To* y) {
  shape.for_each_part([&](const Walk<2>& walk, uint32_t count, const int64_t(&at)[2]) {
    const uint32_t run = walk.extent[walk.rank - 1].divisor % 4 == 0 ? 4 : 1;
    launch(c, "copy", copy_strided<To, From>, thread_each(count / run), x + at[0], y + at[1], walk, count, run);
  });
}

/// f(U{}) with an unsigned integer of the element's size: moving needs no arithmetic.
template <class F>
void visit_bits(DType dtype, F&& f) {
  switch (dtype_size(dtype)) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    default:
      return f(uint64_t{});
  }
}

void move(const Context& c, DType dtype, const StridedShape<2>& shape, const std::byte* x, std::byte* y) {
  if (shape.numel() == 0) return;
  if (shape.contiguous(0) && shape.contiguous(1)) {
    const size_t bytes = static_cast<size_t>(shape.numel()) * dtype_size(dtype);
    ATTUNE_CUDA(cudaMemcpyAsync(y, x, bytes, cudaMemcpyDeviceToDevice, c.stream));
    return;
  }
  visit_bits(dtype, [&]<class U>(U) { copy_parts(c, shape, reinterpret_cast<const U*>(x), reinterpret_cast<U*>(y)); });
}

/// A tensor's shape over other, contiguous memory.
StridedShape<2> beside_contiguous(const Shape& shape, const Tensor& x, bool tensor_first) {
  StridedShape<2> out(shape, {&x, &x});
  // Joined axes of x are joined in contiguous memory as well.
  int64_t step = 1;
  for (int axis = out.rank - 1; axis >= 0; --axis) {
    out.stride[axis][tensor_first ? 1 : 0] = step;
    step *= out.extent[axis];
  }
  return out;
}

}  // namespace

void pack(const Context& c, const Tensor& x, const Shape& shape, std::byte* y) {
  move(c, x.dtype(), beside_contiguous(shape, x, true), x.raw(), y);
}

void unpack(const Context& c, const std::byte* x, Tensor& y) {
  move(c, y.dtype(), beside_contiguous(y.shape(), y, false), x, y.raw());
}

void copy(const Tensor& x, Tensor& y) {
  const Context& c = context(y);
  const StridedShape<2> shape(y.shape(), {&x, &y});
  if (x.dtype() == y.dtype()) return move(c, x.dtype(), shape, x.raw(), y.raw());
  visit_any(x.dtype(), [&]<class From>(From) {
    visit_any(y.dtype(), [&]<class To>(To) {
      if constexpr (!std::is_same_v<From, To>) copy_parts(c, shape, data<From>(x), data<To>(y));
    });
  });
}

void arange(double begin, double step, Tensor& y) {
  const auto write = [&]<class T, class Number>(T, Number) {
    launch(context(y), "arange", write_progression<T, Number>, thread_each(y.numel()), data<T>(y),
           static_cast<Number>(begin), static_cast<Number>(step), y.numel());
  };
  if (y.dtype() == DType::kInt64) return write(int64_t{}, int64_t{});
  visit_floating(y.dtype(), "arange", [&]<class T>(T) { write(T{}, double{}); });
}

void fill(Tensor& y, double value) {
  const Context& c = context(y);
  const StridedShape<1> shape(y.shape(), {&y});
  uint64_t bits = 0;
  visit_any(y.dtype(), [&]<class T>(T) {
    T filler{};
    if constexpr (std::is_same_v<T, bfloat16>) {
      filler = bfloat16(static_cast<float>(value));
    } else if constexpr (std::is_same_v<T, bool>) {
      filler = value != 0;
    } else {
      filler = static_cast<T>(value);
    }
    std::memcpy(&bits, &filler, sizeof(T));
  });
  if (bits == 0 && shape.contiguous(0) && shape.numel() > 0) {
    ATTUNE_CUDA(cudaMemsetAsync(y.raw(), 0, static_cast<size_t>(shape.numel()) * dtype_size(y.dtype()), c.stream));
    return;
  }
  visit_bits(y.dtype(), [&]<class U>(U) {
    shape.for_each_part([&](const Walk<1>& walk, uint32_t count, const int64_t(&at)[1]) {
      launch(c, "fill", fill_strided<U>, thread_each(count), reinterpret_cast<U*>(y.raw()) + at[0],
             static_cast<U>(bits), walk, count);
    });
  });
}

}  // namespace attune::cuda
