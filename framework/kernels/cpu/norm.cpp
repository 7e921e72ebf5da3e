#include "framework/kernels/norm.h"

#include <algorithm>
#include <cmath>

#include "framework/kernels/cpu/column_sums.h"
#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/norm.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/philox.h"
#include "framework/kernels/cpu/rows.h"

#ifndef ATTUNE_FRAMEWORK_KERNELS_CPU_NORM_CPP_
#define ATTUNE_FRAMEWORK_KERNELS_CPU_NORM_CPP_
namespace attune::cpu {
namespace {

/// Pointers of a range of rows; what is optional is null.
template <class T>
struct NormForward {
  const T* x;
  const T* branch;
  T* sum;
  T* y;
  T* stats;
  const T* gain;
  const T* shift;
  int64_t width;
  T eps;
  const DropoutSpec* dropout;
  bool centred;  // layer norm; root-mean-square norm otherwise
};

template <class T>
struct NormBackward {
  const T* dy;
  const T* carried;
  const T* x;  // what was normalised
  const T* stats;
  const T* gain;
  T* dx;
  T* dbranch;
  T* dgain;  // partial sums of this range of rows
  T* dshift;
  int64_t width;
  const DropoutSpec* dropout;
  bool centred;
};

/// Numbers that a row's statistics are: {mean, rstd, rest}, or rstd alone.
constexpr int64_t stats_of(bool centred) { return centred ? 3 : 1; }

/// Mean, in two parts, and variance of a row; the mean is 0 where the row is not centred.
template <class T>
struct RowMoments {
  T mean;
  T rest;
  T variance;
};

/// The statistics of a row in double precision: for numbers whose squares T cannot hold.
template <class T>
void wide_moments(const T* x, int64_t n, bool centred, T eps, T& mean, T& rest, T& rstd) {
  const auto count = static_cast<double>(n);
  double centre = 0;
  for (int64_t j = 0; centred && j < n; ++j) centre += static_cast<double>(x[j]) / count;
  double variance = 0;
  for (int64_t j = 0; j < n; ++j) {
    const double z = static_cast<double>(x[j]) - centre;
    variance += z * z / count;
  }
  mean = static_cast<T>(centre);
  rest = static_cast<T>(centre - static_cast<double>(mean));
  rstd = static_cast<T>(1 / std::sqrt(variance + static_cast<double>(eps)));
}

}  // namespace
}  // namespace attune::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

/// Two passes rather than E[x^2] - E[x]^2, which cancels; the row is in cache. The second pass also finds how far the
/// first one's mean is off, which shows where it is large beside the deviations.
template <class T>
HWY_INLINE RowMoments<T> row_moments(const T* x, int64_t n, bool centred) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const T count = static_cast<T>(n);
  T mean = 0;
  if (centred) {
    V total = hn::Zero(d);
    over_row<T>(n, [&](auto load, auto, auto) HWY_ATTR { total = hn::Add(total, load(x)); });
    mean = lane_sum<T>(total) / count;
  }
  const V centre = hn::Set(d, mean);
  V deviations = hn::Zero(d);
  V squares = hn::Zero(d);
  over_row<T>(n, [&](auto load, auto, auto valid) HWY_ATTR {
    const V z = valid(hn::Sub(load(x), centre));
    deviations = hn::Add(deviations, z);
    squares = hn::MulAdd(z, z, squares);
  });
  const T rest = centred ? lane_sum<T>(deviations) / count : T{0};
  return {mean, rest, lane_sum<T>(squares) / count - rest * rest};
}

template <class T>
void forward_rows(const NormForward<T>& a, int64_t begin, int64_t end) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t n = a.width;
  const bool drops = a.dropout != nullptr && a.dropout->probability > 0;
  const DropoutScale scale(drops ? a.dropout->probability : 0);
  T* kept = drops ? scratch<T>(2, n) : nullptr;
  for (int64_t r = begin; r < end; ++r) {
    const T* x = a.x + r * n;
    if (a.branch != nullptr) {
      const T* branch = a.branch + r * n;
      if (drops) {
        DropoutRange(a.dropout->state, scale, r * n, n, branch, kept);
        branch = kept;
      }
      T* sum = a.sum + r * n;
      over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR { store(hn::Add(load(x), load(branch)), sum); });
      x = sum;
    }
    const RowMoments<T> moments = row_moments(x, n, a.centred);
    T mean = moments.mean;
    T rest = moments.rest;
    T rstd = 1 / std::sqrt(std::max(moments.variance, T{0}) + a.eps);
    if (!std::isfinite(moments.variance)) wide_moments(x, n, a.centred, a.eps, mean, rest, rstd);
    T* stats = a.stats + r * stats_of(a.centred);
    stats[0] = a.centred ? mean : rstd;
    if (a.centred) {
      stats[1] = rstd;
      stats[2] = rest;
    }
    T* y = a.y + r * n;
    const V centre = hn::Set(d, mean);
    const V off = hn::Set(d, rest);
    const V factor = hn::Set(d, rstd);
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
      V z = hn::Mul(hn::Mul(hn::Sub(hn::Sub(load(x), centre), off), factor), load(a.gain));
      if (a.shift != nullptr) z = hn::Add(z, load(a.shift));
      store(z, y);
    });
  }
}

template <class T>
void backward_rows(const NormBackward<T>& a, int64_t begin, int64_t end) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t n = a.width;
  const bool drops = a.dropout != nullptr && a.dropout->probability > 0 && a.dbranch != nullptr;
  const DropoutScale scale(drops ? a.dropout->probability : 0);
  for (int64_t r = begin; r < end; ++r) {
    const T* dy = a.dy + r * n;
    const T* x = a.x + r * n;
    T* dx = a.dx + r * n;
    const T* carried = a.carried != nullptr ? a.carried + r * n : nullptr;
    if (all_zero_row(dy, n)) {  // a row that nothing depends on contributes nothing, NaN or not
      if (carried != nullptr) {
        std::copy(carried, carried + n, dx);
      } else {
        std::fill(dx, dx + n, T{0});
      }
      if (drops) DropoutRange(a.dropout->state, scale, r * n, n, dx, a.dbranch + r * n);
      continue;
    }
    const T* stats = a.stats + r * stats_of(a.centred);
    const V centre = hn::Set(d, a.centred ? stats[0] : T{0});
    const V factor = hn::Set(d, a.centred ? stats[1] : stats[0]);
    const V off = hn::Set(d, a.centred ? stats[2] : T{0});
    const auto normalised = [&](V value) HWY_ATTR { return hn::Mul(hn::Sub(hn::Sub(value, centre), off), factor); };
    // y = h * gain + shift, h = (x - mean) * rstd
    // dx = rstd * (g - mean(g) - h * mean(g h)), g = dy * gain
    V sum_g = hn::Zero(d);
    V sum_gh = hn::Zero(d);
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
      const V gradient = load(dy);
      const V h = normalised(load(x));
      const V g = hn::Mul(gradient, load(a.gain));
      sum_g = hn::Add(sum_g, g);
      sum_gh = hn::MulAdd(g, h, sum_gh);
      if (a.dgain != nullptr) store(hn::MulAdd(gradient, h, load(a.dgain)), a.dgain);
      if (a.dshift != nullptr) store(hn::Add(gradient, load(a.dshift)), a.dshift);
    });
    const V mean_g = hn::Set(d, a.centred ? lane_sum<T>(sum_g) / static_cast<T>(n) : T{0});
    const V mean_gh = hn::Set(d, lane_sum<T>(sum_gh) / static_cast<T>(n));
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
      const V h = normalised(load(x));
      const V g = hn::Mul(load(dy), load(a.gain));
      V z = hn::Mul(factor, hn::Sub(hn::Sub(g, mean_g), hn::Mul(h, mean_gh)));
      if (carried != nullptr) z = hn::Add(z, load(carried));
      store(z, dx);
    });
    if (drops) DropoutRange(a.dropout->state, scale, r * n, n, dx, a.dbranch + r * n);
  }
}

void forward_float(const NormForward<float>& a, int64_t begin, int64_t end) { forward_rows(a, begin, end); }
void forward_double(const NormForward<double>& a, int64_t begin, int64_t end) { forward_rows(a, begin, end); }
void backward_float(const NormBackward<float>& a, int64_t begin, int64_t end) { backward_rows(a, begin, end); }
void backward_double(const NormBackward<double>& a, int64_t begin, int64_t end) { backward_rows(a, begin, end); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(forward_float);
HWY_EXPORT(forward_double);
HWY_EXPORT(backward_float);
HWY_EXPORT(backward_double);

namespace {

constexpr int64_t kGrain = 8192;  // elements of a thread's share at least

template <class T>
T* optional(Tensor& x) {
  return x.defined() ? x.data<T>() : nullptr;
}
template <class T>
const T* optional(const Tensor& x) {
  return x.defined() ? x.data<T>() : nullptr;
}

template <class T>
void run_forward(const NormForward<T>& a, int64_t rows) {
  parallel_for(rows, std::max<int64_t>(1, kGrain / a.width), [&](int64_t begin, int64_t end, int64_t) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(forward_float)(a, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(forward_double)(a, begin, end);
    }
  });
}

// Every range of rows sums its share of dgain and dshift; the shares are added in order, so that the result does not
// depend on which thread was faster.
template <class T>
void run_backward(const NormBackward<T>& base, int64_t rows, Tensor& dgain, bool accumulate_gain, Tensor& dshift,
                  bool accumulate_shift) {
  const int64_t n = base.width;
  SharedColumnSums<T> sums(rows, 2 * n);
  parallel_for(rows, std::max<int64_t>(1, kGrain / n), [&](int64_t begin, int64_t end, int64_t chunk) {
    ColumnSums<T> own = sums.share(chunk);
    NormBackward<T> a = base;
    a.dgain = dgain.defined() ? own.part : nullptr;
    a.dshift = dshift.defined() ? own.part + n : nullptr;
    for (int64_t r = begin; r < end; r += kSumRows) {
      const int64_t stop = std::min(end, r + kSumRows);
      if constexpr (std::is_same_v<T, float>) {
        HWY_DYNAMIC_DISPATCH(backward_float)(a, r, stop);
      } else {
        HWY_DYNAMIC_DISPATCH(backward_double)(a, r, stop);
      }
      own.flush();
    }
  });
  if (dgain.defined()) sums.write(0, n, accumulate_gain, dgain.data<T>());
  if (dshift.defined()) sums.write(n, n, accumulate_shift, dshift.data<T>());
}

}  // namespace

void add_layer_norm(const Tensor& x, const Tensor& branch, const DropoutSpec& dropout, const Tensor& gain,
                    const Tensor& shift, double eps, Tensor& sum, Tensor& y, Tensor& stats) {
  visit_floating(x.dtype(), "layer_norm", [&]<class T>(T) {
    const int64_t width = gain.numel();
    run_forward<T>({x.data<T>(), optional<T>(branch), optional<T>(sum), y.data<T>(), stats.data<T>(), gain.data<T>(),
                    optional<T>(shift), width, static_cast<T>(eps), &dropout, true},
                   width == 0 ? 0 : x.numel() / width);
  });
}

void add_layer_norm_backward(const Tensor& dy, const Tensor& carried, const Tensor& sum, const Tensor& stats,
                             const Tensor& gain, const DropoutSpec& dropout, Tensor& dsum, Tensor& dbranch,
                             Tensor& dgain, bool accumulate_gain, Tensor& dshift, bool accumulate_shift) {
  visit_floating(dy.dtype(), "layer_norm", [&]<class T>(T) {
    const int64_t width = gain.numel();
    const NormBackward<T> a{dy.data<T>(),
                            optional<T>(carried),
                            sum.data<T>(),
                            stats.data<T>(),
                            gain.data<T>(),
                            dsum.data<T>(),
                            optional<T>(dbranch),
                            nullptr,
                            nullptr,
                            width,
                            &dropout,
                            true};
    run_backward(a, width == 0 ? 0 : dy.numel() / width, dgain, accumulate_gain, dshift, accumulate_shift);
  });
}

void rms_norm(const Tensor& x, const Tensor& gain, double eps, Tensor& y, Tensor& rstd) {
  visit_floating(x.dtype(), "rms_norm", [&]<class T>(T) {
    const int64_t width = gain.numel();
    run_forward<T>({x.data<T>(), nullptr, nullptr, y.data<T>(), rstd.data<T>(), gain.data<T>(), nullptr, width,
                    static_cast<T>(eps), nullptr, false},
                   width == 0 ? 0 : x.numel() / width);
  });
}

void rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& rstd, const Tensor& gain, Tensor& dx,
                       Tensor& dgain, bool accumulate_gain) {
  visit_floating(dy.dtype(), "rms_norm", [&]<class T>(T) {
    const int64_t width = gain.numel();
    const NormBackward<T> a{dy.data<T>(), nullptr, x.data<T>(), rstd.data<T>(), gain.data<T>(), dx.data<T>(),
                            nullptr,      nullptr, nullptr,     width,          nullptr,        false};
    Tensor none;
    run_backward(a, width == 0 ? 0 : dy.numel() / width, dgain, accumulate_gain, none, false);
  });
}

}  // namespace attune::cpu
#endif
