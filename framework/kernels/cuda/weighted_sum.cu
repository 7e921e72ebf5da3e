#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/long_sum.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/weighted_sum.h"

namespace attune::cuda {
namespace {

/// weights [B, H, T, S], v [B, S, Hkv, K].
struct Sizes {
  int64_t heads, queries, keys, value_heads, width;
};

/// A thread for every element of y [B, T, H, K].
template <class T>
__global__ void forward(const T* weights, const T* v, Sizes n, T* y, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t i = at % n.width;
  const int64_t h = at / n.width % n.heads;
  const int64_t t = at / n.width / n.heads % n.queries;
  const int64_t b = at / n.width / n.heads / n.queries;
  const T* row = weights + ((b * n.heads + h) * n.queries + t) * n.keys;
  const T* from = v + (b * n.keys * n.value_heads + h / (n.heads / n.value_heads)) * n.width + i;
  Compute<T> sum = 0;
  for (int64_t s = 0; s < n.keys; ++s) {
    const Compute<T> weight = load(row[s]);
    if (weight != Compute<T>(0)) sum += weight * load(from[s * n.value_heads * n.width]);
  }
  y[at] = store<T>(sum);
}

/// dw(s) = dy v(s). A thread for every weight.
template <class T>
__global__ void backward_weights(const T* dy, const T* v, Sizes n, T* dweights, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t s = at % n.keys;
  const int64_t t = at / n.keys % n.queries;
  const int64_t h = at / n.keys / n.queries % n.heads;
  const int64_t b = at / n.keys / n.queries / n.heads;
  const T* gradient = dy + ((b * n.queries + t) * n.heads + h) * n.width;
  const T* from = v + ((b * n.keys + s) * n.value_heads + h / (n.heads / n.value_heads)) * n.width;
  Compute<T> sum = 0;
  for (int64_t i = 0; i < n.width; ++i) {
    const Compute<T> g = load(gradient[i]);
    if (g != Compute<T>(0)) sum += g * load(from[i]);
  }
  dweights[at] = store<T>(sum);
}

/// dv(s) = sum over the queries of all heads that read it of w(s) dy. A thread for every element of v.
template <class T>
__global__ void backward_values(const T* dy, const T* weights, Sizes n, bool accumulate, T* dv, int64_t count) {
  using C = Compute<T>;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t i = at % n.width;
  const int64_t value_head = at / n.width % n.value_heads;
  const int64_t s = at / n.width / n.value_heads % n.keys;
  const int64_t b = at / n.width / n.value_heads / n.keys;
  const int64_t group = n.heads / n.value_heads;
  LongSum<C> sum;
  if (accumulate) sum.add(load(dv[at]));
  for (int64_t h = value_head * group; h < (value_head + 1) * group; ++h) {
    for (int64_t t = 0; t < n.queries; ++t) {
      const C weight = load(weights[((b * n.heads + h) * n.queries + t) * n.keys + s]);
      const C gradient = load(dy[((b * n.queries + t) * n.heads + h) * n.width + i]);
      if (weight != C(0) && gradient != C(0)) sum.add(weight * gradient);
    }
  }
  dv[at] = store<T>(static_cast<C>(sum.value()));
}

Sizes sizes_of(const Tensor& weights, const Tensor& v) {
  return {weights.dim(1), weights.dim(2), weights.dim(3), v.dim(2), v.dim(3)};
}

}  // namespace

void weighted_sum(const Tensor& weights, const Tensor& v, Tensor& y) {
  visit_stored(v.dtype(), "weighted_sum", [&]<class T>(T) {
    launch(context(v), "weighted_sum", forward<T>, thread_each(y.numel()), data<T>(weights), data<T>(v),
           sizes_of(weights, v), data<T>(y), y.numel());
  });
}

void weighted_sum_backward(const Tensor& dy, const Tensor& weights, const Tensor& v, Tensor& dweights, Tensor& dv,
                           bool accumulate) {
  const Context& c = context(v);
  visit_stored(v.dtype(), "weighted_sum", [&]<class T>(T) {
    if (dweights.defined()) {
      launch(c, "weighted_sum", backward_weights<T>, thread_each(dweights.numel()), data<T>(dy), data<T>(v),
             sizes_of(weights, v), data<T>(dweights), dweights.numel());
    }
    if (dv.defined()) {
      launch(c, "weighted_sum", backward_values<T>, thread_each(dv.numel()), data<T>(dy), data<T>(weights),
             sizes_of(weights, v), accumulate, data<T>(dv), dv.numel());
    }
  });
}

}  // namespace attune::cuda
