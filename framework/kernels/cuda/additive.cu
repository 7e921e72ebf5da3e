#include "framework/kernels/additive.h"
#include "framework/kernels/cuda/columns.cuh"

namespace attune::cuda {
namespace {

/// q [B, H, T, A], k [B, H, S, A], v [H, A], y [B, H, T, S].
struct Sizes {
  int64_t batch, heads, queries, keys, width;

  Sizes(const Tensor& q, const Tensor& k)
      : batch(q.dim(0)), heads(q.dim(1)), queries(q.dim(2)), keys(k.dim(2)), width(q.dim(3)) {}
};

/// A thread for every score.
template <class T>
__global__ void forward(const T* q, const T* k, const T* v, Sizes n, T* y, int64_t count) {
  using C = Compute<T>;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t row = at / n.keys;  // (b H + h) T + t
  const int64_t head = row / n.queries;
  const T* query = q + row * n.width;
  const T* key = k + (head * n.keys + at % n.keys) * n.width;
  const T* vector = v + head % n.heads * n.width;
  C sum = 0;
  for (int64_t i = 0; i < n.width; ++i) sum += load(vector[i]) * tanh(load(query[i]) + load(key[i]));
  y[at] = store<T>(sum);
}

// y = v h, h = tanh(q + k): dq = sum over s of dy v (1 - h^2), dk the same over t, dv = sum of dy h. What dy is 0 for
// is not read.

/// A thread for every element of dq; with kKeys of dk. dv: of this query (or key), for add_parts().
template <bool kKeys, class T>
__global__ void backward(const T* dy, const T* q, const T* k, const T* v, Sizes n, bool accumulate, T* out,
                         Compute<T>* dv, int64_t count) {
  using C = Compute<T>;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t i = at % n.width;
  const int64_t rows = kKeys ? n.keys : n.queries;
  const int64_t others = kKeys ? n.queries : n.keys;
  const int64_t row = at / n.width % rows;
  const int64_t head = at / n.width / rows;
  const C own = load((kKeys ? k : q)[at]);
  const T* other = (kKeys ? q : k) + head * others * n.width + i;
  const T* gradients = dy + head * n.queries * n.keys + (kKeys ? row : row * n.keys);
  const int64_t step = kKeys ? n.keys : 1;
  const C vector = load(v[head % n.heads * n.width + i]);
  LongSum<C> sum, of_vector;
  for (int64_t j = 0; j < others; ++j) {
    const C gradient = load(gradients[j * step]);
    if (gradient == C(0)) continue;
    const C h = tanh(own + load(other[j * n.width]));
    sum.add(gradient * vector * (C(1) - h * h));
    of_vector.add(gradient * h);
  }
  if (dv != nullptr) {
    // [B, T, H, A], so that all rows of a head's element are equally far apart.
    const int64_t b = head / n.heads;
    dv[((b * rows + row) * n.heads + head % n.heads) * n.width + i] = static_cast<C>(of_vector.value());
  }
  const C total = static_cast<C>(sum.value());
  out[at] = store<T>(accumulate ? load(out[at]) + total : total);
}

}  // namespace

void additive_scores(const Tensor& q, const Tensor& k, const Tensor& v, Tensor& y) {
  visit_stored(q.dtype(), "additive_scores", [&]<class T>(T) {
    launch(context(q), "additive_scores", forward<T>, thread_each(y.numel()), data<T>(q), data<T>(k), data<T>(v),
           Sizes(q, k), data<T>(y), y.numel());
  });
}

void additive_scores_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, Tensor& dq,
                              Tensor& dk, bool accumulate, Tensor& dv) {
  const Context& c = context(q);
  const Sizes n(q, k);
  visit_stored(q.dtype(), "additive_scores", [&]<class T>(T) {
    using C = Compute<T>;
    const int64_t columns = n.heads * n.width;
    const Scratch scratch(c, static_cast<size_t>(q.numel()) * sizeof(C));
    C* parts = scratch.data<C>();
    launch(c, "additive_scores", backward<false, T>, thread_each(q.numel()), data<T>(dy), data<T>(q), data<T>(k),
           data<T>(v), n, false, data<T>(dq), parts, q.numel());
    launch(c, "additive_scores", backward<true, T>, thread_each(k.numel()), data<T>(dy), data<T>(q), data<T>(k),
           data<T>(v), n, accumulate, data<T>(dk), static_cast<C*>(nullptr), k.numel());
    launch(c, "additive_scores", add_parts<T, C>, thread_each(columns), parts, n.batch * n.queries, columns, columns,
           false, data<T>(dv));
  });
}

}  // namespace attune::cuda
