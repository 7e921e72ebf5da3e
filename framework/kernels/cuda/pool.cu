#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/pool.h"

namespace attune::cuda {
namespace {

/// Positions along one axis, as PoolAxis has them, for device code.
struct Axis {
  int64_t in, out, size, stride, padding;
  bool adaptive;

  explicit Axis(const PoolAxis& a)
      : in(a.in), out(a.out), size(a.size), stride(a.stride), padding(a.padding), adaptive(a.adaptive) {}

  __device__ int64_t begin(int64_t i) const {
    if (adaptive) return i * in / out;
    const int64_t first = i * stride - padding;
    return first > 0 ? first : 0;
  }
  __device__ int64_t end(int64_t i) const {
    if (adaptive) return ((i + 1) * in + out - 1) / out;
    const int64_t last = i * stride - padding + size;
    return last < in ? last : in;
  }
  /// The first output position whose window may hold input position `at`, and one behind the last.
  __device__ int64_t first_over(int64_t at) const {
    if (adaptive) {
      const int64_t i = at * out / in - 1;
      return i > 0 ? i : 0;
    }
    const int64_t i = (at + padding - size + stride) / stride;
    return at + padding - size + stride > 0 ? i : 0;
  }
  __device__ int64_t behind_over(int64_t at) const {
    const int64_t i = adaptive ? ((at + 1) * out + in - 1) / in : (at + padding) / stride + 1;
    return i < out ? i : out;
  }
};

/// Of every picture [H, W, C] and its outputs [OH, OW, C].
struct Pooling {
  Axis height, width;
  int64_t channels;
  bool count_padding;

  Pooling(const PoolSpec& spec, int64_t c)
      : height(spec.height), width(spec.width), channels(c), count_padding(spec.count_padding) {}

  __device__ int64_t input(int64_t b, int64_t i, int64_t j, int64_t c) const {
    return ((b * height.in + i) * width.in + j) * channels + c;
  }
  __device__ int64_t output(int64_t b, int64_t i, int64_t j, int64_t c) const {
    return ((b * height.out + i) * width.out + j) * channels + c;
  }
  __device__ int64_t elements(int64_t i, int64_t j) const {
    return count_padding ? height.size * width.size
                         : (height.end(i) - height.begin(i)) * (width.end(j) - width.begin(j));
  }
};

/// A thread for every element of y: the largest of its window (NaN counts as largest), or the mean.
template <bool kLargest, class T>
__global__ void forward(const T* x, Pooling p, T* y, int64_t count) {
  using C = Compute<T>;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t c = at % p.channels;
  const int64_t j = at / p.channels % p.width.out;
  const int64_t i = at / p.channels / p.width.out % p.height.out;
  const int64_t b = at / p.channels / p.width.out / p.height.out;
  C result = kLargest ? -static_cast<C>(INFINITY) : C(0);
  for (int64_t row = p.height.begin(i); row < p.height.end(i); ++row) {
    for (int64_t column = p.width.begin(j); column < p.width.end(j); ++column) {
      const C value = load(x[p.input(b, row, column, c)]);
      if (!kLargest) {
        result += value;
      } else if (value > result || value != value) {
        result = value;
      }
    }
  }
  y[at] = store<T>(kLargest ? result : result / static_cast<C>(p.elements(i, j)));
}

/// A thread for every element of x, over the windows that hold it.
template <class T>
__global__ void average_backward(const T* dy, Pooling p, T* dx, int64_t count) {
  using C = Compute<T>;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t c = at % p.channels;
  const int64_t column = at / p.channels % p.width.in;
  const int64_t row = at / p.channels / p.width.in % p.height.in;
  const int64_t b = at / p.channels / p.width.in / p.height.in;
  C sum = 0;
  for (int64_t i = p.height.first_over(row); i < p.height.behind_over(row); ++i) {
    if (row < p.height.begin(i) || row >= p.height.end(i)) continue;
    for (int64_t j = p.width.first_over(column); j < p.width.behind_over(column); ++j) {
      if (column < p.width.begin(j) || column >= p.width.end(j)) continue;
      sum += load(dy[p.output(b, i, j, c)]) / static_cast<C>(p.elements(i, j));
    }
  }
  dx[at] = store<T>(sum);
}

/// The same; a window's gradient goes to the first of its elements that equals y, or is NaN.
template <class T>
__global__ void largest_backward(const T* dy, const T* x, const T* y, Pooling p, T* dx, int64_t count) {
  using C = Compute<T>;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t c = at % p.channels;
  const int64_t column = at / p.channels % p.width.in;
  const int64_t row = at / p.channels / p.width.in % p.height.in;
  const int64_t b = at / p.channels / p.width.in / p.height.in;
  const C own = load(x[at]);
  C sum = 0;
  for (int64_t i = p.height.first_over(row); i < p.height.behind_over(row); ++i) {
    if (row < p.height.begin(i) || row >= p.height.end(i)) continue;
    for (int64_t j = p.width.first_over(column); j < p.width.behind_over(column); ++j) {
      if (column < p.width.begin(j) || column >= p.width.end(j)) continue;
      const C top = load(y[p.output(b, i, j, c)]);
      const auto hit = [top](C value) { return value == top || value != value; };
      if (!hit(own)) continue;
      bool first = true;
      for (int64_t r = p.height.begin(i); r <= row && first; ++r) {
        const int64_t end = r == row ? column : p.width.end(j);
        for (int64_t s = p.width.begin(j); s < end && first; ++s) first = !hit(load(x[p.input(b, r, s, c)]));
      }
      if (first) sum += load(dy[p.output(b, i, j, c)]);
    }
  }
  dx[at] = store<T>(sum);
}

}  // namespace

void max_pool2d(const Tensor& x, const PoolSpec& spec, Tensor& y) {
  visit_stored(x.dtype(), "max_pool2d", [&]<class T>(T) {
    launch(context(x), "max_pool2d", forward<true, T>, thread_each(y.numel()), data<T>(x), Pooling(spec, x.dim(3)),
           data<T>(y), y.numel());
  });
}

void max_pool2d_backward(const Tensor& dy, const Tensor& x, const Tensor& y, const PoolSpec& spec, Tensor& dx) {
  visit_stored(x.dtype(), "max_pool2d", [&]<class T>(T) {
    launch(context(x), "max_pool2d", largest_backward<T>, thread_each(dx.numel()), data<T>(dy), data<T>(x), data<T>(y),
           Pooling(spec, x.dim(3)), data<T>(dx), dx.numel());
  });
}

void average_pool2d(const Tensor& x, const PoolSpec& spec, Tensor& y) {
  visit_stored(x.dtype(), "average_pool2d", [&]<class T>(T) {
    launch(context(x), "average_pool2d", forward<false, T>, thread_each(y.numel()), data<T>(x), Pooling(spec, x.dim(3)),
           data<T>(y), y.numel());
  });
}

void average_pool2d_backward(const Tensor& dy, const PoolSpec& spec, Tensor& dx) {
  visit_stored(dx.dtype(), "average_pool2d", [&]<class T>(T) {
    launch(context(dx), "average_pool2d", average_backward<T>, thread_each(dx.numel()), data<T>(dy),
           Pooling(spec, dx.dim(3)), data<T>(dx), dx.numel());
  });
}

}  // namespace attune::cuda
