#include "framework/kernels/softmax.h"

#include <cmath>
#include <limits>

#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/softmax.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/rows.h"
#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

// y = softmax(x), or x - log sum exp when kLog.
template <class T, bool kLog>
void softmax_rows(const T* x, T* y, int64_t rows, int64_t n) {
  const hn::ScalableTag<T> d;
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const auto largest = hn::Set(d, row_max(x, n));
    auto total = hn::Zero(d);
    over_row<T>(n, [&](auto load, auto store, auto valid) HWY_ATTR {
      const auto e = valid(Exp(d, hn::Sub(load(x), largest)));
      total = hn::Add(total, e);
      if (!kLog) store(e, y);
    });
    const T sum = lane_sum<T>(total);
    if (kLog) {
      // One after the other: their sum would be rounded to what a number as large as x can tell apart.
      const auto log_sum = hn::Set(d, std::log(sum));
      over_row<T>(n,
                  [&](auto load, auto store, auto) HWY_ATTR { store(hn::Sub(hn::Sub(load(x), largest), log_sum), y); });
    } else {
      const auto factor = hn::Set(d, 1 / sum);
      over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR { store(hn::Mul(load(y), factor), y); });
    }
  }
}

// A score of -infinity forbids its element as `keep` does.
template <class T>
void masked_rows(const T* x, const bool* keep, T* y, int64_t rows, int64_t n) {
  constexpr T kLow = -std::numeric_limits<T>::infinity();
  for (int64_t r = 0; r < rows; ++r, x += n, keep += n, y += n) {
    T largest = kLow;
    for (int64_t j = 0; j < n; ++j) {
      y[j] = keep[j] ? x[j] : kLow;
      largest = y[j] > largest || std::isnan(y[j]) ? y[j] : largest;
    }
    if (largest == kLow) {
      for (int64_t j = 0; j < n; ++j) y[j] = 0;
      continue;
    }
    const hn::ScalableTag<T> d;
    const auto top = hn::Set(d, largest);
    auto total = hn::Zero(d);
    over_row<T>(n, [&](auto load, auto store, auto valid) HWY_ATTR {
      const auto e = valid(Exp(d, hn::Sub(load(y), top)));
      total = hn::Add(total, e);
      store(e, y);
    });
    const auto factor = hn::Set(d, 1 / lane_sum<T>(total));
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR { store(hn::Mul(load(y), factor), y); });
    for (int64_t j = 0; j < n; ++j) {
      if (!keep[j] || x[j] == kLow) y[j] = 0;  // beside NaN, too
    }
  }
}

// dx = y (dy - sum(y dy)), or dy - exp(y) sum(dy) when kLog.
template <class T, bool kLog>
void backward_rows(const T* y, const T* dy, T* dx, int64_t rows, int64_t n) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  for (int64_t r = 0; r < rows; ++r, y += n, dy += n, dx += n) {
    V total = hn::Zero(d);
    over_row<T>(n, [&](auto load, auto, auto) HWY_ATTR {
      const V gradient = load(dy);
      if (kLog) {
        total = hn::Add(total, gradient);
      } else {
        const V weight = load(y);
        total = hn::Add(total, hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), hn::Mul(weight, gradient)));
      }
    });
    const V sum = hn::Set(d, lane_sum<T>(total));
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
      const V out = load(y);
      if (kLog) {
        store(hn::NegMulAdd(Exp(d, out), sum, load(dy)), dx);
      } else {
        const V z = hn::Mul(out, hn::Sub(load(dy), sum));
        store(hn::IfThenZeroElse(hn::Eq(out, hn::Zero(d)), z), dx);
      }
    });
  }
}

void softmax_float(const float* x, float* y, int64_t rows, int64_t n) { softmax_rows<float, false>(x, y, rows, n); }
void softmax_double(const double* x, double* y, int64_t rows, int64_t n) { softmax_rows<double, false>(x, y, rows, n); }
void log_float(const float* x, float* y, int64_t rows, int64_t n) { softmax_rows<float, true>(x, y, rows, n); }
void log_double(const double* x, double* y, int64_t rows, int64_t n) { softmax_rows<double, true>(x, y, rows, n); }
void masked_float(const float* x, const bool* keep, float* y, int64_t rows, int64_t n) {
  masked_rows(x, keep, y, rows, n);
}
void masked_double(const double* x, const bool* keep, double* y, int64_t rows, int64_t n) {
  masked_rows(x, keep, y, rows, n);
}
void backward_float(const float* y, const float* dy, float* dx, int64_t rows, int64_t n) {
  backward_rows<float, false>(y, dy, dx, rows, n);
}
void backward_double(const double* y, const double* dy, double* dx, int64_t rows, int64_t n) {
  backward_rows<double, false>(y, dy, dx, rows, n);
}
void log_backward_float(const float* y, const float* dy, float* dx, int64_t rows, int64_t n) {
  backward_rows<float, true>(y, dy, dx, rows, n);
}
void log_backward_double(const double* y, const double* dy, double* dx, int64_t rows, int64_t n) {
  backward_rows<double, true>(y, dy, dx, rows, n);
}

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(softmax_float);
HWY_EXPORT(softmax_double);
HWY_EXPORT(log_float);
HWY_EXPORT(log_double);
HWY_EXPORT(masked_float);
HWY_EXPORT(masked_double);
HWY_EXPORT(backward_float);
HWY_EXPORT(backward_double);
HWY_EXPORT(log_backward_float);
HWY_EXPORT(log_backward_double);

namespace {

// f(T{}, first element, rows, row length) over ranges of rows.
template <class F>
void over_rows(const Tensor& x, const char* who, F&& f) {
  if (x.numel() == 0) return;
  const int64_t n = x.shape()[x.rank() - 1];
  constexpr int64_t kGrain = 4096;
  visit_floating(x.dtype(), who, [&]<class T>(T) {
    parallel_for(x.numel() / n, std::max<int64_t>(1, kGrain / n),
                 [&](int64_t begin, int64_t end, int64_t) { f(T{}, begin * n, end - begin, n); });
  });
}

}  // namespace

void softmax(const Tensor& x, Tensor& y) {
  over_rows(x, "softmax", [&]<class T>(T, int64_t at, int64_t rows, int64_t n) {
    if constexpr (sizeof(T) == 4) {
      HWY_DYNAMIC_DISPATCH(softmax_float)(x.data<T>() + at, y.data<T>() + at, rows, n);
    } else {
      HWY_DYNAMIC_DISPATCH(softmax_double)(x.data<T>() + at, y.data<T>() + at, rows, n);
    }
  });
}

void masked_softmax(const Tensor& x, const Tensor& keep, Tensor& y) {
  over_rows(x, "masked_softmax", [&]<class T>(T, int64_t at, int64_t rows, int64_t n) {
    if constexpr (sizeof(T) == 4) {
      HWY_DYNAMIC_DISPATCH(masked_float)(x.data<T>() + at, keep.data<bool>() + at, y.data<T>() + at, rows, n);
    } else {
      HWY_DYNAMIC_DISPATCH(masked_double)(x.data<T>() + at, keep.data<bool>() + at, y.data<T>() + at, rows, n);
    }
  });
}

void softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  over_rows(y, "softmax", [&]<class T>(T, int64_t at, int64_t rows, int64_t n) {
    if constexpr (sizeof(T) == 4) {
      HWY_DYNAMIC_DISPATCH(backward_float)(y.data<T>() + at, dy.data<T>() + at, dx.data<T>() + at, rows, n);
    } else {
      HWY_DYNAMIC_DISPATCH(backward_double)(y.data<T>() + at, dy.data<T>() + at, dx.data<T>() + at, rows, n);
    }
  });
}

void log_softmax(const Tensor& x, Tensor& y) {
  over_rows(x, "log_softmax", [&]<class T>(T, int64_t at, int64_t rows, int64_t n) {
    if constexpr (sizeof(T) == 4) {
      HWY_DYNAMIC_DISPATCH(log_float)(x.data<T>() + at, y.data<T>() + at, rows, n);
    } else {
      HWY_DYNAMIC_DISPATCH(log_double)(x.data<T>() + at, y.data<T>() + at, rows, n);
    }
  });
}

void log_softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  over_rows(y, "log_softmax", [&]<class T>(T, int64_t at, int64_t rows, int64_t n) {
    if constexpr (sizeof(T) == 4) {
      HWY_DYNAMIC_DISPATCH(log_backward_float)(y.data<T>() + at, dy.data<T>() + at, dx.data<T>() + at, rows, n);
    } else {
      HWY_DYNAMIC_DISPATCH(log_backward_double)(y.data<T>() + at, dy.data<T>() + at, dx.data<T>() + at, rows, n);
    }
  });
}

}  // namespace attune::cpu
#endif
