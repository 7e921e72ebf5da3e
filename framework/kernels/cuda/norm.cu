#include "framework/kernels/cuda/columns.cuh"
#include "framework/kernels/cuda/philox.cuh"
#include "framework/kernels/cuda/team.cuh"
#include "framework/kernels/norm.h"

namespace attune::cuda {
namespace {

/// Pointers; what is optional is null. kCentred: layer norm, with stats {mean, rstd, rest} by row; root-mean-square
/// norm otherwise, with rstd alone.
template <class T>
struct Forward {
  const T* x;
  const T* branch;
  T* sum;
  T* y;
  Compute<T>* stats;
  const T* gain;
  const T* shift;
  int64_t rows;
  int64_t width;
  Compute<T> eps;
  Drop<Compute<T>> dropout;
};

template <class Team, bool kCentred, class T>
__global__ void forward_rows(Forward<T> a) {
  using C = Compute<T>;
  const int64_t row = Team::row();
  if (row >= a.rows) return;
  const int64_t n = a.width;
  const int64_t at = row * n;
  const T* x = a.x + at;
  C part = 0;
  if (a.branch != nullptr) {
    for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
      const T total = store<T>(load(x[j]) + a.dropout(load(a.branch[at + j]), at + j));
      a.sum[at + j] = total;
      part += load(total);
    }
    x = a.sum + at;  // each thread reads what it wrote itself
  } else if (kCentred) {
    for (int64_t j = Team::rank(); j < n; j += Team::kSize) part += load(x[j]);
  }
  const auto count = static_cast<C>(n);
  const C mean = kCentred ? Team::sum(part) / count : C(0);
  // Two passes rather than E[x^2] - E[x]^2, which cancels; the row is in cache. The second also finds how far the first
  // one's mean is off, which shows where it is large beside the deviations. Squares in double precision, which float32
  // may be too narrow for.
  C deviations = 0;
  double squares = 0;
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
    const C z = load(x[j]) - mean;
    deviations += z;
    squares += static_cast<double>(z) * static_cast<double>(z);
  }
  const C rest = kCentred ? Team::sum(deviations) / count : C(0);
  const double variance = Team::sum(squares) / static_cast<double>(n) - static_cast<double>(rest) * rest;
  const C rstd = static_cast<C>(1 / sqrt(fmax(variance, 0.0) + static_cast<double>(a.eps)));
  if (Team::rank() == 0) {
    if (kCentred) {
      a.stats[3 * row] = mean;
      a.stats[3 * row + 1] = rstd;
      a.stats[3 * row + 2] = rest;
    } else {
      a.stats[row] = rstd;
    }
  }
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
    const C z = (load(x[j]) - mean - rest) * rstd * load(a.gain[j]);
    a.y[at + j] = store<T>(a.shift != nullptr ? z + load(a.shift[j]) : z);
  }
}

template <class T>
struct Backward {
  const T* dy;
  const T* carried;
  const T* x;  ///< what was normalised
  const Compute<T>* stats;
  const T* gain;
  T* dx;
  T* dbranch;
  int64_t rows;
  int64_t width;
  Drop<Compute<T>> dropout;
};

/// What a row's statistics make of one of its elements.
template <bool kCentred, class C>
struct Normalised {
  C mean = 0, rest = 0, rstd;

  __device__ Normalised(const C* stats, int64_t row) : rstd(stats[kCentred ? 3 * row + 1 : row]) {
    if (!kCentred) return;
    mean = stats[3 * row];
    rest = stats[3 * row + 2];
  }
  __device__ C operator()(C x) const { return (x - mean - rest) * rstd; }
};

/// y = h gain + shift, h = (x - mean) rstd
/// dx = rstd (g - mean(g) - h mean(g h)), g = dy gain
template <class Team, bool kCentred, class T>
__global__ void backward_rows(Backward<T> a) {
  using C = Compute<T>;
  const int64_t row = Team::row();
  if (row >= a.rows) return;
  const int64_t n = a.width;
  const int64_t at = row * n;
  const Normalised<kCentred, C> normalised(a.stats, row);
  C sum_g = 0;
  C sum_gh = 0;
  int any = 0;
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
    const C gradient = load(a.dy[at + j]);
    any |= gradient != C(0);
    const C g = gradient * load(a.gain[j]);
    sum_g += g;
    sum_gh += g * normalised(load(a.x[at + j]));
  }
  // A row that nothing depends on contributes nothing, NaN or not.
  const bool counts = Team::sum(any) > 0;
  const C mean_g = kCentred ? Team::sum(sum_g) / static_cast<C>(n) : C(0);
  const C mean_gh = Team::sum(sum_gh) / static_cast<C>(n);
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
    C z = 0;
    if (counts) {
      const C h = normalised(load(a.x[at + j]));
      z = normalised.rstd * (load(a.dy[at + j]) * load(a.gain[j]) - mean_g - h * mean_gh);
    }
    if (a.carried != nullptr) z += load(a.carried[at + j]);
    a.dx[at + j] = store<T>(z);
    if (a.dbranch != nullptr) a.dbranch[at + j] = store<T>(a.dropout(z, at + j));
  }
}

/// A block for every part of the rows of 32 columns: parts[p, 0, j] = sum of dy h, parts[p, 1, j] = sum of dy.
template <bool kCentred, class T>
__global__ void column_sums(Backward<T> a, int64_t tiles, int64_t parts, Compute<T>* out) {
  using C = Compute<T>;
  const int64_t part = blockIdx.x / tiles;
  const int64_t column = blockIdx.x % tiles * kColumns + threadIdx.x % kColumns;
  const bool inside = column < a.width;
  const int64_t begin = a.rows * part / parts;
  const int64_t end = a.rows * (part + 1) / parts;
  const C dgain = sum_of_column<C>(begin, end, inside, [&](int64_t row) {
    const C gradient = load(a.dy[row * a.width + column]);
    const Normalised<kCentred, C> normalised(a.stats, row);
    return gradient == C(0) ? C(0) : gradient * normalised(load(a.x[row * a.width + column]));
  });
  const C dshift =
      sum_of_column<C>(begin, end, inside, [&](int64_t row) { return load(a.dy[row * a.width + column]); });
  if (threadIdx.x >= kColumns || !inside) return;
  out[part * 2 * a.width + column] = dgain;
  out[(part * 2 + 1) * a.width + column] = dshift;
}

template <bool kCentred, class T>
void run_forward(const Context& c, const char* who, const Forward<T>& a) {
  visit_team(a.rows, a.width,
             [&]<class Team>(Team, const Grid& grid) { launch(c, who, forward_rows<Team, kCentred, T>, grid, a); });
}

template <bool kCentred, class T>
void run_backward(const Context& c, const char* who, const Backward<T>& a, Tensor* dgain, bool accumulate_gain,
                  Tensor* dshift, bool accumulate_shift) {
  using C = Compute<T>;
  visit_team(a.rows, a.width,
             [&]<class Team>(Team, const Grid& grid) { launch(c, who, backward_rows<Team, kCentred, T>, grid, a); });
  if (dgain == nullptr && dshift == nullptr) return;
  const int64_t tiles = ceil_div(a.width, kColumns);
  const int64_t parts = parts_of_rows(c, a.rows, tiles);
  const Scratch scratch(c, static_cast<size_t>(parts * 2 * a.width) * sizeof(C));
  C* out = scratch.data<C>();
  launch(c, who, column_sums<kCentred, T>, Grid{tiles * parts, 256}, a, tiles, parts, out);
  const auto collect = [&](Tensor* to, bool accumulate, int64_t which) {
    if (to == nullptr) return;
    add_parts_to<T>(c, who, out + which * a.width, parts, a.width, 2 * a.width, accumulate, *to);
  };
  collect(dgain, accumulate_gain, 0);
  collect(dshift, accumulate_shift, 1);
}

Tensor* if_defined(Tensor& x) { return x.defined() ? &x : nullptr; }

}  // namespace

void add_layer_norm(const Tensor& x, const Tensor& branch, const DropoutSpec& dropout, const Tensor& gain,
                    const Tensor& shift, double eps, Tensor& sum, Tensor& y, Tensor& stats) {
  const int64_t width = gain.numel();
  if (x.numel() == 0) return;
  const Context& c = context(x);
  visit_stored(x.dtype(), "layer_norm", [&]<class T>(T) {
    using C = Compute<T>;
    run_forward<true, T>(c, "layer_norm",
                         {data<T>(x), data<T>(branch), data<T>(sum), data<T>(y), data<C>(stats), data<T>(gain),
                          data<T>(shift), x.numel() / width, width, static_cast<C>(eps), Drop<C>(c, dropout)});
  });
}

void add_layer_norm_backward(const Tensor& dy, const Tensor& carried, const Tensor& sum, const Tensor& stats,
                             const Tensor& gain, const DropoutSpec& dropout, Tensor& dsum, Tensor& dbranch,
                             Tensor& dgain, bool accumulate_gain, Tensor& dshift, bool accumulate_shift) {
  const int64_t width = gain.numel();
  const Context& c = context(dy);
  visit_stored(dy.dtype(), "layer_norm", [&]<class T>(T) {
    using C = Compute<T>;
    run_backward<true, T>(c, "layer_norm",
                          {data<T>(dy), data<T>(carried), data<T>(sum), data<C>(stats), data<T>(gain), data<T>(dsum),
                           data<T>(dbranch), width == 0 ? 0 : dy.numel() / width, width, Drop<C>(c, dropout)},
                          if_defined(dgain), accumulate_gain, if_defined(dshift), accumulate_shift);
  });
}

void rms_norm(const Tensor& x, const Tensor& gain, double eps, Tensor& y, Tensor& rstd) {
  const int64_t width = gain.numel();
  if (x.numel() == 0) return;
  visit_stored(x.dtype(), "rms_norm", [&]<class T>(T) {
    using C = Compute<T>;
    run_forward<false, T>(context(x), "rms_norm",
                          {data<T>(x),
                           nullptr,
                           nullptr,
                           data<T>(y),
                           data<C>(rstd),
                           data<T>(gain),
                           nullptr,
                           x.numel() / width,
                           width,
                           static_cast<C>(eps),
                           {}});
  });
}

void rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& rstd, const Tensor& gain, Tensor& dx,
                       Tensor& dgain, bool accumulate_gain) {
  const int64_t width = gain.numel();
  visit_stored(dy.dtype(), "rms_norm", [&]<class T>(T) {
    using C = Compute<T>;
    run_backward<false, T>(context(dy), "rms_norm",
                           {data<T>(dy),
                            nullptr,
                            data<T>(x),
                            data<C>(rstd),
                            data<T>(gain),
                            data<T>(dx),
                            nullptr,
                            width == 0 ? 0 : dy.numel() / width,
                            width,
                            {}},
                           if_defined(dgain), accumulate_gain, nullptr, false);
  });
}

}  // namespace attune::cuda
