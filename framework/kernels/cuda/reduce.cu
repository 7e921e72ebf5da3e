#include "framework/kernels/cuda/columns.cuh"
#include "framework/kernels/cuda/packed.h"
#include "framework/kernels/cuda/team.cuh"
#include "framework/kernels/reduce.h"

namespace attune::cuda {
namespace {

/// A team for every part of every output: parts[p, o] = the sum of elements begin(p) ... end(p) - 1 of output o, an
/// element being one of a run.
template <class Team, class T>
__global__ void sum_runs(const T* x, Reduction r, int64_t outputs, int64_t parts, Compute<T>* out) {
  const int64_t item = Team::row();
  if (item >= outputs * parts) return;
  const int64_t o = item % outputs;
  const int64_t part = item / outputs;
  const int64_t length = r.reduced.count() * r.run;
  const T* from = x + r.kept.offset(o);
  LongSum<Compute<T>> own;
  for (int64_t i = length * part / parts + Team::rank(); i < length * (part + 1) / parts; i += Team::kSize) {
    own.add(load(from[r.reduced.rank == 0 ? i : r.reduced.offset(i / r.run) + i % r.run]));
  }
  const double sum = Team::sum(own.value());
  if (Team::rank() == 0) out[part * outputs + o] = static_cast<Compute<T>>(sum);
}

/// A block for every part of 32 columns of every kept index: parts[p, o * run + i].
template <class T>
__global__ void sum_columns(const T* x, Reduction r, int64_t tiles, int64_t parts, Compute<T>* out) {
  const int64_t tile = blockIdx.x % tiles;
  const int64_t o = blockIdx.x / tiles % r.kept.count();
  const int64_t part = blockIdx.x / tiles / r.kept.count();
  const int64_t column = tile * kColumns + threadIdx.x % kColumns;
  const int64_t rows = r.reduced.count();
  const T* from = x + r.kept.offset(o) + column;
  const Compute<T> sum = sum_of_column<Compute<T>>(rows * part / parts, rows * (part + 1) / parts, column < r.run,
                                                   [&](int64_t row) { return load(from[r.reduced.offset(row)]); });
  if (threadIdx.x < kColumns && column < r.run) out[(part * r.kept.count() + o) * r.run + column] = sum;
}

template <class T>
void sum_contiguous(const Context& c, const T* x, const Reduction& r, T* y, int64_t outputs) {
  using C = Compute<T>;
  const int64_t rows = r.reduced.count();
  const int64_t length = r.sums_runs ? rows * r.run : rows;
  const int64_t tiles = ceil_div(r.run, kColumns);
  const int64_t parts = parts_of_rows(c, length, r.sums_runs ? outputs : r.kept.count() * tiles);
  const Scratch scratch(c, static_cast<size_t>(parts * outputs) * sizeof(C));
  C* out = scratch.data<C>();
  if (r.sums_runs) {
    visit_team(outputs * parts, length / parts, [&]<class Team>(Team, const Grid& grid) {
      launch(c, "sum_to", sum_runs<Team, T>, grid, x, r, outputs, parts, out);
    });
  } else {
    launch(c, "sum_to", sum_columns<T>, Grid{tiles * r.kept.count() * parts, 256}, x, r, tiles, parts, out);
  }
  launch(c, "sum_to", add_parts<T, C>, thread_each(outputs), out, parts, outputs, outputs, false, y);
}

/// A block for 32 columns of a sample.
template <class T>
__global__ void mean_rows(const T* x, const int64_t* lengths, int64_t steps, int64_t width, T* y, int64_t tiles) {
  const int64_t b = blockIdx.x / tiles;
  const int64_t column = blockIdx.x % tiles * kColumns + threadIdx.x % kColumns;
  const int64_t length = lengths[b];
  const T* from = x + b * steps * width + column;
  const auto sum =
      sum_of_column<Compute<T>>(0, length, column < width, [&](int64_t row) { return load(from[row * width]); });
  if (threadIdx.x < kColumns && column < width) {
    y[b * width + column] = store<T>(length > 0 ? sum / static_cast<Compute<T>>(length) : Compute<T>(0));
  }
}

template <class T>
__global__ void spread_rows(const T* dy, const int64_t* lengths, int64_t steps, int64_t width, T* dx, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t row = at / width;
  const int64_t b = row / steps;
  const int64_t length = lengths[b];
  const auto zero = Compute<T>(0);
  dx[at] = store<T>(row % steps < length ? load(dy[b * width + at % width]) / static_cast<Compute<T>>(length) : zero);
}

}  // namespace

void sum_to(const Tensor& x, Tensor& y) {
  if (y.numel() == 0) return;
  const Context& c = context(y);
  const Packed from(c, x);
  visit_stored(x.dtype(), "sum_to", [&]<class T>(T) {
    if (x.numel() == 0) {
      ATTUNE_CUDA(cudaMemsetAsync(y.raw(), 0, static_cast<size_t>(y.numel()) * sizeof(T), c.stream));
      return;
    }
    sum_contiguous(c, from.data<T>(), Reduction(x.shape(), y.shape()), data<T>(y), y.numel());
  });
}

void masked_mean(const Tensor& x, const Tensor& lengths, Tensor& y) {
  const Context& c = context(y);
  const Packed from(c, x);
  const int64_t tiles = ceil_div(x.dim(2), kColumns);
  visit_stored(x.dtype(), "masked_mean", [&]<class T>(T) {
    launch(c, "masked_mean", mean_rows<T>, Grid{x.dim(0) * tiles, 256}, from.data<T>(), data<int64_t>(lengths),
           x.dim(1), x.dim(2), data<T>(y), tiles);
  });
}

void masked_mean_backward(const Tensor& dy, const Tensor& lengths, Tensor& dx) {
  const Context& c = context(dx);
  const Packed from(c, dy);
  visit_stored(dx.dtype(), "masked_mean_backward", [&]<class T>(T) {
    launch(c, "masked_mean_backward", spread_rows<T>, thread_each(dx.numel()), from.data<T>(), data<int64_t>(lengths),
           dx.dim(1), dx.dim(2), data<T>(dx), dx.numel());
  });
}

}  // namespace attune::cuda
