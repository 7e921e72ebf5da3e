#include "framework/kernels/alignment.h"
#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"

namespace attune::cuda {
namespace {

// A recurrence over keys within one over queries: a thread for every row, as on the CPU.

struct Sizes {
  int64_t rows, queries, keys;

  explicit Sizes(const Tensor& p) : rows(p.dim(0)), queries(p.dim(1)), keys(p.dim(2)) {}
};

__device__ bool any(const bool* keep, int64_t n) {
  for (int64_t s = 0; s < n; ++s) {
    if (keep[s]) return true;
  }
  return false;
}

template <class T>
__global__ void forward(const T* p, const T* previous, const bool* keep, Sizes n, T* y, T* last) {
  using C = Compute<T>;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= n.rows) return;
  const T* before = previous + row * n.keys;
  for (int64_t t = 0; t < n.queries; ++t) {
    const int64_t at = (row * n.queries + t) * n.keys;
    if (!any(keep + at, n.keys)) {
      for (int64_t s = 0; s < n.keys; ++s) y[at + s] = store<T>(C(0));
      continue;
    }
    C arrived = 0;
    for (int64_t s = 0; s < n.keys; ++s) {
      arrived += load(before[s]);
      const C stop = keep[at + s] ? load(p[at + s]) : C(0);
      y[at + s] = store<T>(stop * arrived);
      arrived *= C(1) - stop;
    }
    before = y + at;
  }
  for (int64_t s = 0; s < n.keys; ++s) last[row * n.keys + s] = before[s];
}

/// carried: gradient of the alignment in front of a query, of all keys; arrived: memory; both [rows, S].
template <class T>
__global__ void backward(const T* p, const T* previous, const bool* keep, const T* y, const T* dy, const T* dlast,
                         Sizes n, T* dp, T* dprevious, Compute<T>* carried, Compute<T>* arrived) {
  using C = Compute<T>;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= n.rows) return;
  carried += row * n.keys;
  arrived += row * n.keys;
  for (int64_t s = 0; s < n.keys; ++s) carried[s] = dlast != nullptr ? load(dlast[row * n.keys + s]) : C(0);
  for (int64_t t = n.queries - 1; t >= 0; --t) {
    const int64_t at = (row * n.queries + t) * n.keys;
    if (!any(keep + at, n.keys)) {
      for (int64_t s = 0; s < n.keys; ++s) dp[at + s] = store<T>(C(0));
      continue;
    }
    // The alignment in front is that of the last query before with a key.
    int64_t earlier = t - 1;
    while (earlier >= 0 && !any(keep + (row * n.queries + earlier) * n.keys, n.keys)) --earlier;
    const T* before = earlier < 0 ? previous + row * n.keys : y + (row * n.queries + earlier) * n.keys;
    C walk = 0;
    for (int64_t s = 0; s < n.keys; ++s) {
      walk += load(before[s]);
      arrived[s] = walk;
      if (keep[at + s]) walk *= C(1) - load(p[at + s]);
    }
    C dwalk = 0;  // gradient of what leaves key s
    for (int64_t s = n.keys - 1; s >= 0; --s) {
      C gradient_p = 0;
      if (keep[at + s]) {
        // y = p arrived, left = (1 - p) arrived
        const C stop = load(p[at + s]);
        const C gradient = carried[s] + (dy != nullptr ? load(dy[at + s]) : C(0));
        gradient_p = arrived[s] * (gradient - dwalk);
        dwalk = stop * gradient + (C(1) - stop) * dwalk;
      }
      dp[at + s] = store<T>(gradient_p);
      carried[s] = dwalk;
    }
  }
  for (int64_t s = 0; s < n.keys; ++s) dprevious[row * n.keys + s] = store<T>(carried[s]);
}

}  // namespace

void monotonic_alignment(const Tensor& p, const Tensor& previous, const Tensor& keep, Tensor& y, Tensor& last) {
  const Sizes n(p);
  visit_stored(p.dtype(), "monotonic_alignment", [&]<class T>(T) {
    launch(context(p), "monotonic_alignment", forward<T>, thread_each(n.rows, 32), data<T>(p), data<T>(previous),
           data<bool>(keep), n, data<T>(y), data<T>(last));
  });
}

void monotonic_alignment_backward(const Tensor& p, const Tensor& previous, const Tensor& keep, const Tensor& y,
                                  const Tensor& dy, const Tensor& dlast, Tensor& dp, Tensor& dprevious) {
  const Context& c = context(p);
  const Sizes n(p);
  visit_stored(p.dtype(), "monotonic_alignment", [&]<class T>(T) {
    using C = Compute<T>;
    const Scratch scratch(c, static_cast<size_t>(2 * n.rows * n.keys) * sizeof(C));
    C* carried = scratch.data<C>();
    launch(c, "monotonic_alignment", backward<T>, thread_each(n.rows, 32), data<T>(p), data<T>(previous),
           data<bool>(keep), data<T>(y), data<T>(dy), data<T>(dlast), n, data<T>(dp), data<T>(dprevious), carried,
           carried + n.rows * n.keys);
  });
}

}  // namespace attune::cuda
