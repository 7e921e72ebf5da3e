#include "framework/kernels/batch_norm.h"

#include <algorithm>
#include <cmath>

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
  const T* gain;
  const T* shift;
  T* out;    // y or dx
  T* sums;   // [2, C]: means and sums of squared deviations, or sums of dy and of dy times what was normalised
  T* block;  // [2, C]: the same of one block of rows
  const T* mean_dy;
  const T* mean_dyh;
};

}  // namespace
}  // namespace attune::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

/// Means and sums of squared deviations of rows, block by block while they are in cache, joined by the formula of Chan,
/// Golub and LeVeque ("Updating formulae and a pairwise algorithm for computing sample variances", 1979).
template <class T>
void moments(const Columns<T>& c, int64_t begin, int64_t end) {
  const hn::ScalableTag<T> d;
  const int64_t n = c.width;
  constexpr int64_t kRows = 32;
  T* sum = c.block;
  T* squares = c.block + n;
  for (int64_t from = begin; from < end; from += kRows) {
    const int64_t to = std::min(end, from + kRows);
    std::fill_n(c.block, 2 * n, T{0});
    for (int64_t r = from; r < to; ++r) {
      const T* x = c.x + r * n;
      over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR { store(hn::Add(load(sum), load(x)), sum); });
    }
    const auto share = hn::Set(d, T{1} / static_cast<T>(to - from));
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR { store(hn::Mul(load(sum), share), sum); });
    for (int64_t r = from; r < to; ++r) {
      const T* x = c.x + r * n;
      over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
        const auto z = hn::Sub(load(x), load(sum));
        store(hn::MulAdd(z, z, load(squares)), squares);
      });
    }
    const T before = static_cast<T>(from - begin);
    const T now = static_cast<T>(to - from);
    const auto weight = hn::Set(d, now / (before + now));
    const auto between = hn::Set(d, before * now / (before + now));
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
      const auto apart = hn::Sub(load(sum), load(c.sums));
      store(hn::MulAdd(apart, weight, load(c.sums)), c.sums);
      const auto both = hn::Add(load(c.sums + n), load(squares));
      store(hn::MulAdd(hn::Mul(apart, apart), between, both), c.sums + n);
    });
  }
}

template <class T>
void normalise(const Columns<T>& c, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const T* x = c.x + r * c.width;
    T* y = c.out + r * c.width;
    over_row<T>(c.width, [&](auto load, auto store, auto) HWY_ATTR {
      const auto h = hn::Mul(hn::Sub(load(x), load(c.mean)), load(c.rstd));
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
      const auto h = hn::Mul(hn::Sub(load(x), load(c.mean)), load(c.rstd));
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
      const auto h = hn::Mul(hn::Sub(load(x), load(c.mean)), rstd);
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

/// The pass over all rows: every thread has its share of the sums, of which the number of rows is noted.
template <class T>
void over_rows(Pass pass, const Columns<T>& base, int64_t rows, T* shares, int64_t* counts) {
  parallel_for(rows, grain_of(base.width), [&](int64_t begin, int64_t end, int64_t chunk) {
    Columns<T> c = base;
    if (shares != nullptr) {
      c.sums = shares + chunk * 4 * base.width;
      c.block = c.sums + 2 * base.width;
      counts[chunk] = end - begin;
    }
    dispatch(pass, c, begin, end);
  });
}

/// Shares of all threads, zero: [threads, 4, C], and the rows of each.
template <class T>
struct Shares {
  explicit Shares(int64_t columns)
      : count(num_threads()),
        width(columns),
        sums(Tensor::zeros({count, 4, columns}, kDTypeOf<T>)),
        rows(Tensor::zeros({count}, DType::kInt64)) {}

  T* data() { return sums.template data<T>(); }
  const T* of(int64_t share, int64_t row) { return data() + (share * 4 + row) * width; }
  int64_t* row_counts() { return rows.template data<int64_t>(); }

  int64_t count;
  int64_t width;
  Tensor sums;
  Tensor rows;
};

}  // namespace

void batch_statistics(const Tensor& x, double eps, Tensor& stats) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>(T) {
    const int64_t width = x.dim(1);
    Shares<T> shares(width);
    Columns<T> columns{};
    columns.width = width;
    columns.x = x.data<T>();
    over_rows(Pass::kMoments, columns, x.dim(0), shares.data(), shares.row_counts());
    T* mean = stats.data<T>();
    T* rstd = mean + width;
    T* variance = mean + 2 * width;
    for (int64_t j = 0; j < width; ++j) {
      T count = 0;
      T centre = 0;
      T squares = 0;
      for (int64_t share = 0; share < shares.count; ++share) {
        const T more = static_cast<T>(shares.row_counts()[share]);
        if (more == 0) continue;
        const T apart = shares.of(share, 0)[j] - centre;
        squares += shares.of(share, 1)[j] + apart * apart * count * more / (count + more);
        centre += apart * more / (count + more);
        count += more;
      }
      mean[j] = centre;
      variance[j] = squares / count;
      rstd[j] = 1 / std::sqrt(variance[j] + static_cast<T>(eps));
    }
  });
}

void batch_norm(const Tensor& x, const Tensor& stats, const Tensor& gain, const Tensor& shift, Tensor& y) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>(T) {
    Columns<T> columns{};
    columns.width = x.dim(1);
    columns.x = x.data<T>();
    columns.mean = stats.data<T>();
    columns.rstd = columns.mean + columns.width;
    columns.gain = gain.data<T>();
    columns.shift = shift.data<T>();
    columns.out = y.data<T>();
    over_rows<T>(Pass::kForward, columns, x.dim(0), nullptr, nullptr);
  });
}

void batch_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& stats, const Tensor& gain, Tensor& dx,
                         Tensor& dgain, Tensor& dshift) {
  visit_floating(x.dtype(), "batch_norm", [&]<class T>(T) {
    const int64_t width = x.dim(1);
    const int64_t rows = x.dim(0);
    Shares<T> shares(width);
    Columns<T> columns{};
    columns.width = width;
    columns.x = x.data<T>();
    columns.dy = dy.data<T>();
    columns.mean = stats.data<T>();
    columns.rstd = columns.mean + width;
    columns.gain = gain.data<T>();
    over_rows(Pass::kSums, columns, rows, shares.data(), shares.row_counts());
    Tensor means = Tensor::empty({2, width}, x.dtype());
    for (int64_t row = 0; row < 2; ++row) {
      T* total = row == 0 ? dshift.data<T>() : dgain.data<T>();
      for (int64_t j = 0; j < width; ++j) {
        total[j] = 0;
        for (int64_t share = 0; share < shares.count; ++share) total[j] += shares.of(share, row)[j];
        means.data<T>()[row * width + j] = total[j] / static_cast<T>(rows);
      }
    }
    if (!dx.defined()) return;
    columns.mean_dy = means.data<T>();
    columns.mean_dyh = columns.mean_dy + width;
    columns.out = dx.data<T>();
    over_rows<T>(Pass::kBackward, columns, rows, nullptr, nullptr);
  });
}

}  // namespace attune::cpu
#endif
