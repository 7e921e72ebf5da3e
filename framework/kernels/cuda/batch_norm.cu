#include "framework/kernels/batch_norm.h"
#include "framework/kernels/cuda/columns.cuh"

namespace attune::cuda {
namespace {

/// The mean of column j, which lies in two parts.
template <class C>
__device__ double mean_of(const C* stats, int64_t n, int64_t j) {
  return static_cast<double>(stats[j]) + static_cast<double>(stats[3 * n + j]);
}

/// A block for every part of the rows of 32 columns: parts[p, j] = sum of (x - mean)^power. Without stats: of x. In
/// double precision: the mean may be large beside the deviations, and their squares too large for float32.
template <class T>
__global__ void sum_powers(const T* x, const Compute<T>* stats, int64_t rows, int64_t n, int64_t tiles, int64_t parts,
                           double* out) {
  const int64_t part = blockIdx.x / tiles;
  const int64_t column = blockIdx.x % tiles * kColumns + threadIdx.x % kColumns;
  const double centre = stats != nullptr && column < n ? mean_of(stats, n, column) : 0;
  const auto sum = sum_of_column<double>(rows * part / parts, rows * (part + 1) / parts, column < n, [&](int64_t row) {
    const double z = static_cast<double>(load(x[row * n + column])) - centre;
    return stats != nullptr ? z * z : z;
  });
  if (threadIdx.x < kColumns && column < n) out[part * n + column] = sum;
}

/// stats[0] and stats[3], the mean, from the sums of the parts; or stats[1] and stats[2] from those of squares.
template <class C>
__global__ void finish_statistics(const double* parts, int64_t count, int64_t rows, int64_t n, bool squares, double eps,
                                  C* stats) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (j >= n) return;
  double sum = 0;
  for (int64_t p = 0; p < count; ++p) sum += parts[p * n + j];
  const double mean = sum / static_cast<double>(rows);
  if (!squares) {
    stats[j] = static_cast<C>(mean);
    stats[3 * n + j] = static_cast<C>(mean - static_cast<double>(stats[j]));
  } else {
    stats[n + j] = static_cast<C>(1 / sqrt(mean + eps));
    stats[2 * n + j] = static_cast<C>(mean);
  }
}

/// (x - mean) rstd in column j.
template <class C>
__device__ C normalised(C x, const C* stats, int64_t n, int64_t j) {
  return (x - stats[j] - stats[3 * n + j]) * stats[n + j];
}

template <class T>
__global__ void normalise(const T* x, const Compute<T>* stats, const T* gain, const T* shift, int64_t n, T* y,
                          int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t j = at % n;
  y[at] = store<T>(normalised(load(x[at]), stats, n, j) * load(gain[j]) + load(shift[j]));
}

/// parts[p, 0, j] = sum of dy h, parts[p, 1, j] = sum of dy, h = (x - mean) rstd.
template <class T>
__global__ void sum_gradients(const T* dy, const T* x, const Compute<T>* stats, int64_t rows, int64_t n, int64_t tiles,
                              int64_t parts, Compute<T>* out) {
  using C = Compute<T>;
  const int64_t part = blockIdx.x / tiles;
  const int64_t column = blockIdx.x % tiles * kColumns + threadIdx.x % kColumns;
  const bool inside = column < n;
  const int64_t begin = rows * part / parts;
  const int64_t end = rows * (part + 1) / parts;
  const C dgain = sum_of_column<C>(begin, end, inside, [&](int64_t row) {
    return load(dy[row * n + column]) * normalised(load(x[row * n + column]), stats, n, column);
  });
  const C dshift = sum_of_column<C>(begin, end, inside, [&](int64_t row) { return load(dy[row * n + column]); });
  if (threadIdx.x >= kColumns || !inside) return;
  out[part * 2 * n + column] = dgain;
  out[(part * 2 + 1) * n + column] = dshift;
}

/// dx = gain rstd (dy - mean(dy) - h mean(dy h)), means from sums[0, j] of dy h and sums[1, j] of dy.
template <class T>
__global__ void input_gradient(const T* dy, const T* x, const Compute<T>* stats, const T* gain, const Compute<T>* sums,
                               int64_t rows, int64_t n, T* dx, int64_t count) {
  using C = Compute<T>;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t j = at % n;
  const C rstd = stats[n + j];
  const C h = normalised(load(x[at]), stats, n, j);
  const auto m = static_cast<C>(rows);
  dx[at] = store<T>(load(gain[j]) * rstd * (load(dy[at]) - sums[n + j] / m - h * (sums[j] / m)));
}

}  // namespace

void batch_statistics(const Tensor& x, double eps, Tensor& stats) {
  const Context& c = context(x);
  const int64_t rows = x.dim(0), n = x.dim(1);
  visit_stored(x.dtype(), "batch_norm", [&]<class T>(T) {
    using C = Compute<T>;
    const int64_t tiles = ceil_div(n, kColumns);
    const int64_t parts = parts_of_rows(c, rows, tiles);
    const Scratch scratch(c, static_cast<size_t>(parts * n) * sizeof(double));
    for (const bool squares : {false, true}) {
      launch(c, "batch_norm", sum_powers<T>, Grid{tiles * parts, 256}, data<T>(x), squares ? data<C>(stats) : nullptr,
             rows, n, tiles, parts, scratch.data<double>());
      launch(c, "batch_norm", finish_statistics<C>, thread_each(n), scratch.data<double>(), parts, rows, n, squares,
             eps, data<C>(stats));
    }
  });
}

void batch_norm(const Tensor& x, const Tensor& stats, const Tensor& gain, const Tensor& shift, Tensor& y) {
  visit_stored(x.dtype(), "batch_norm", [&]<class T>(T) {
    launch(context(x), "batch_norm", normalise<T>, thread_each(x.numel()), data<T>(x), data<Compute<T>>(stats),
           data<T>(gain), data<T>(shift), gain.numel(), data<T>(y), x.numel());
  });
}

void batch_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& stats, const Tensor& gain, Tensor& dx,
                         Tensor& dgain, Tensor& dshift) {
  const Context& c = context(x);
  const int64_t rows = x.dim(0), n = x.dim(1);
  visit_stored(x.dtype(), "batch_norm", [&]<class T>(T) {
    using C = Compute<T>;
    const int64_t tiles = ceil_div(n, kColumns);
    const int64_t parts = parts_of_rows(c, rows, tiles);
    const Scratch scratch(c, static_cast<size_t>((parts + 1) * 2 * n) * sizeof(C));
    C* sums = scratch.data<C>();
    C* out = sums + 2 * n;
    launch(c, "batch_norm", sum_gradients<T>, Grid{tiles * parts, 256}, data<T>(dy), data<T>(x), data<C>(stats), rows,
           n, tiles, parts, out);
    launch(c, "batch_norm", add_parts<C, C>, thread_each(2 * n), out, parts, 2 * n, 2 * n, false, sums);
    launch(c, "batch_norm", add_parts<T, C>, thread_each(n), out, parts, n, 2 * n, false, data<T>(dgain));
    launch(c, "batch_norm", add_parts<T, C>, thread_each(n), out + n, parts, n, 2 * n, false, data<T>(dshift));
    if (!dx.defined()) return;
    launch(c, "batch_norm", input_gradient<T>, thread_each(x.numel()), data<T>(dy), data<T>(x), data<C>(stats),
           data<T>(gain), sums, rows, n, data<T>(dx), x.numel());
  });
}

}  // namespace attune::cuda
