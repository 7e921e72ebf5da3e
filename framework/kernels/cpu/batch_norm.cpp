#include "framework/kernels/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "framework/kernels/cpu/column_sums.h"
#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/batch_norm.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/rows.h"

#ifndef ATTUNE_FRAMEWORK_KERNELS_CPU_BATCH_NORM_CPP_
#define ATTUNE_FRAMEWORK_KERNELS_CPU_BATCH_NORM_CPP_
namespace attune::cpu {
namespace {

enum class Pass : uint8_t { kMoments, kForward, kSums, kBackward };

/// What the passes over rows read and write; what a pass does not need is null.
template <class T>
struct Columns {
  int64_t width;
  const T* x;
  const T* dy;
  const T* mean;
  const T* rstd;
  const T* mean_low;
  const T* gain;
  const T* shift;
  T* out;           // y or dx
  T* sums;          // [2, C]: of dy and of dy times what was normalised
  T* block;         // [3, C]: of one block of rows, a centre, and sums of deviations from it and of their squares
  double* moments;  // [2, C]: means and sums of squared deviations from them
  const T* mean_dy;
  const T* mean_dyh;
};

/// Rows of a block of which moments are taken: they stay in cache for a second look.
constexpr int64_t kBlockRows = 64;

/// Joins the moments of `before` rows with those of the block of `now` rows behind them, by the formula of Chan, Golub
/// and LeVeque ("Updating formulae and a pairwise algorithm for computing sample variances", 1979).
template <class T>
void join_moments(const Columns<T>& c, int64_t before, int64_t now) {
  const auto count = static_cast<double>(now);
  const double weight = count / static_cast<double>(before + now);
  const double between = static_cast<double>(before) * weight;
  const T* centre = c.block;
  const T* deviations = centre + c.width;
  const T* squares = deviations + c.width;
  double* means = c.moments;
  double* sums = means + c.width;
  for (int64_t j = 0; j < c.width; ++j) {
    const double off = static_cast<double>(deviations[j]) / count;  // of the centre, which was rounded
    const double apart = static_cast<double>(centre[j]) + off - means[j];
    means[j] += apart * weight;
    sums[j] += static_cast<double>(squares[j]) - off * off * count + apart * apart * between;
  }
}

}  // namespace
}  // namespace attune::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

/// Moments of rows, block by block while they are in cache. A block's are those of its deviations from its first row,
/// then from a centre near its mean: where the mean is large beside the deviations, sums of x itself would drown them.
template <class T>
void moments(const Columns<T>& c, int64_t begin, int64_t end) {
  const hn::ScalableTag<T> d;
  const int64_t n = c.width;
  T* centre = c.block;
  T* deviations = centre + n;
  T* squares = deviations + n;
  for (int64_t from = begin; from < end; from += kBlockRows) {
    const int64_t to = std::min(end, from + kBlockRows);
    const T* first = c.x + from * n;
    std::fill_n(c.block, 3 * n, T{0});
    for (int64_t r = from + 1; r < to; ++r) {
      const T* x = c.x + r * n;
      over_row<T>(n, [&](auto load, auto store, auto)
                         HWY_ATTR { store(hn::Add(load(centre), hn::Sub(load(x), load(first))), centre); });
    }
    const auto share = hn::Set(d, T{1} / static_cast<T>(to - from));
    over_row<T>(
        n, [&](auto load, auto store, auto) HWY_ATTR { store(hn::MulAdd(load(centre), share, load(first)), centre); });
    for (int64_t r = from; r < to; ++r) {
      const T* x = c.x + r * n;
      over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
        const auto z = hn::Sub(load(x), load(centre));
        store(hn::Add(z, load(deviations)), deviations);
        store(hn::MulAdd(z, z, load(squares)), squares);
      });
    }
    join_moments(c, from - begin, to - from);
  }
}

/// (x - mean) rstd, the mean in two parts.
template <class T, class V = hn::Vec<hn::ScalableTag<T>>>
HWY_INLINE V normalised(V x, V mean, V mean_low, V rstd) {
  return hn::Mul(hn::Sub(hn::Sub(x, mean), mean_low), rstd);
}

template <class T>
void normalise(const Columns<T>& c, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const T* x = c.x + r * c.width;
    T* y = c.out + r * c.width;
    over_row<T>(c.width, [&](auto load, auto store, auto) HWY_ATTR {
      const auto h = normalised<T>(load(x), load(c.mean), load(c.mean_low), load(c.rstd));
      store(hn::MulAdd(h, load(c.gain), load(c.shift)), y);
    });
  }
}

template <class T>
void gradient_sums(const Columns<T>& c, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const T* x = c.x + r * c.width;
    const T* dy = c.dy + r * c.width;
    T* products = c.sums + c.width;
    over_row<T>(c.width, [&](auto load, auto store, auto) HWY_ATTR {
      const auto g = load(dy);
      const auto h = normalised<T>(load(x), load(c.mean), load(c.mean_low), load(c.rstd));
      store(hn::Add(load(c.sums), g), c.sums);
      store(hn::MulAdd(g, h, load(products)), products);
    });
  }
}

template <class T>
void gradient(const Columns<T>& c, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const T* x = c.x + r * c.width;
    const T* dy = c.dy + r * c.width;
    T* dx = c.out + r * c.width;
    over_row<T>(c.width, [&](auto load, auto store, auto) HWY_ATTR {
      // y = h gain + shift, h = (x - mean) rstd; dx = gain rstd (dy - mean(dy) - h mean(dy h))
      const auto rstd = load(c.rstd);
      const auto h = normalised<T>(load(x), load(c.mean), load(c.mean_low), rstd);
      const auto centred = hn::Sub(load(dy), load(c.mean_dy));
      store(hn::Mul(hn::Mul(load(c.gain), rstd), hn::NegMulAdd(h, load(c.mean_dyh), centred)), dx);
    });
  }
}

template <class T>
void run(Pass pass, const Columns<T>& c, int64_t begin, int64_t end) {
  switch (pass) {
    case Pass::kMoments:
      return moments(c, begin, end);
    case Pass::kForward:
      return normalise(c, begin, end);
    case Pass::kSums:
      return gradient_sums(c, begin, end);
    case Pass::kBackward:
      return gradient(c, begin, end);
  }
}

void run_float(Pass pass, const Columns<float>& c, int64_t begin, int64_t end) { run(pass, c, begin, end); }
void run_double(Pass pass, const Columns<double>& c, int64_t begin, int64_t end) { run(pass, c, begin, end); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(run_float);
HWY_EXPORT(run_double);

namespace {

void dispatch(Pass pass, const Columns<float>& c, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(run_float)(pass, c, begin, end);
}
void dispatch(Pass pass, const Columns<double>& c, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(run_double)(pass, c, begin, end);
}

int64_t grain_of(int64_t width) { return std::max<int64_t>(1, 8192 / width); }

/// A pass without sums over all rows.
template <class T>
void over_rows(Pass pass, const Columns<T>& columns, int64_t rows) {
  parallel_for(rows, grain_of(columns.width),
               [&](int64_t begin, int64_t end, int64_t) { dispatch(pass, columns, begin, end); });
}

/// Where the statistics of `stats` [4, C] are.
template <class T>
void read_statistics(const Tensor& stats, Columns<T>& columns) {
  columns.mean = stats.data<T>();
  columns.rstd = columns.mean + columns.width;
  columns.mean_low = columns.mean + 3 * columns.width;
}

/// Mean and sum of squared deviations of one column in double precision: for numbers whose squares T cannot hold.
template <class T>
std::pair<double, double> column_moments(const T* x, int64_t rows, int64_t width) {
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) sum += static_cast<double>(x[r * width]);
  const double mean = sum / static_cast<double>(rows);
  double squares = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const double z = static_cast<double>(x[r * width]) - mean;
    squares += z * z;
  }
  return {mean, squares};
}

}  // namespace

void batch_statistics(const Tensor& x, double eps, Tensor& stats) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>(T) {
    const int64_t width = x.dim(1);
    const int64_t rows = x.dim(0);
    const int64_t shares = num_threads();
    // Every thread's moments, and the number of its rows.
    Tensor moments = Tensor::zeros({shares, 2, width}, DType::kFloat64);
    Tensor blocks = Tensor::empty({shares, 3, width}, kDTypeOf<T>);
    Tensor counts = Tensor::zeros({shares}, DType::kInt64);
    Columns<T> columns{};
    columns.width = width;
    columns.x = x.data<T>();
    parallel_for(rows, grain_of(width), [&](int64_t begin, int64_t end, int64_t chunk) {
      Columns<T> own = columns;
      own.moments = moments.data<double>() + chunk * 2 * width;
      own.block = blocks.data<T>() + chunk * 3 * width;
      dispatch(Pass::kMoments, own, begin, end);
      counts.data<int64_t>()[chunk] = end - begin;
    });
    T* mean = stats.data<T>();
    for (int64_t j = 0; j < width; ++j) {
      double count = 0;
      double centre = 0;
      double squares = 0;
      for (int64_t share = 0; share < shares; ++share) {
        const auto more = static_cast<double>(counts.data<int64_t>()[share]);
        if (more == 0) continue;
        const double* of = moments.data<double>() + share * 2 * width + j;
        const double apart = of[0] - centre;
        squares += of[width] + apart * apart * count * more / (count + more);
        centre += apart * more / (count + more);
        count += more;
      }
      if (!std::isfinite(squares)) std::tie(centre, squares) = column_moments(columns.x + j, rows, width);
      const double variance = std::max(squares / count, 0.0);
      mean[j] = static_cast<T>(centre);
      mean[width + j] = static_cast<T>(1 / std::sqrt(variance + eps));
      mean[2 * width + j] = static_cast<T>(variance);
      mean[3 * width + j] = static_cast<T>(centre - static_cast<double>(mean[j]));
    }
  });
}

void batch_norm(const Tensor& x, const Tensor& stats, const Tensor& gain, const Tensor& shift, Tensor& y) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>(T) {
    Columns<T> columns{};
    columns.width = x.dim(1);
    columns.x = x.data<T>();
    read_statistics(stats, columns);
    columns.gain = gain.data<T>();
    columns.shift = shift.data<T>();
    columns.out = y.data<T>();
    over_rows(Pass::kForward, columns, x.dim(0));
  });
}

void batch_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& stats, const Tensor& gain, Tensor& dx,
                         Tensor& dgain, Tensor& dshift) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>(T) {
    const int64_t width = x.dim(1);
    const int64_t rows = x.dim(0);
    Columns<T> columns{};
    columns.width = width;
    columns.x = x.data<T>();
    columns.dy = dy.data<T>();
    columns.gain = gain.data<T>();
    read_statistics(stats, columns);
    SharedColumnSums<T> sums(rows, 2 * width);
    parallel_for(rows, grain_of(width), [&](int64_t begin, int64_t end, int64_t chunk) {
      ColumnSums<T> share = sums.share(chunk);
      Columns<T> own = columns;
      own.sums = share.part;
      for (int64_t r = begin; r < end; r += kSumRows) {
        dispatch(Pass::kSums, own, r, std::min(end, r + kSumRows));
        share.flush();
      }
    });
    sums.write(0, width, false, dshift.data<T>());
    sums.write(width, width, false, dgain.data<T>());
    if (!dx.defined()) return;
    Tensor means = Tensor::empty({2, width}, x.dtype());
    for (int64_t j = 0; j < 2 * width; ++j) {
      means.data<T>()[j] = static_cast<T>(sums.sum(j) / static_cast<double>(rows));
    }
    columns.mean_dy = means.data<T>();
    columns.mean_dyh = columns.mean_dy + width;
    columns.out = dx.data<T>();
    over_rows(Pass::kBackward, columns, rows);
  });
}

}  // namespace attune::cpu
#endif
