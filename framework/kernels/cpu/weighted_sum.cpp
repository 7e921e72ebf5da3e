#include "framework/kernels/weighted_sum.h"

#include <algorithm>

#include "framework/kernels/cpu/column_sums.h"
#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/weighted_sum.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/rows.h"
#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

/// One query: rows of v are `step` elements apart.
template <class T>
void forward(const T* weights, const T* v, int64_t keys, int64_t step, int64_t width, T* y) {
  const hn::ScalableTag<T> d;
  std::fill(y, y + width, T{0});
  for (int64_t s = 0; s < keys; ++s, v += step) {
    if (weights[s] == 0) continue;
    const auto weight = hn::Set(d, weights[s]);
    over_row<T>(width, [&](auto load, auto store, auto) HWY_ATTR { store(hn::MulAdd(weight, load(v), load(y)), y); });
  }
}

/// dweights, dv: may be null; dv is added to.
template <class T>
void backward(const T* dy, const T* weights, const T* v, int64_t keys, int64_t step, int64_t width, T* dweights,
              T* dv) {
  const hn::ScalableTag<T> d;
  const auto zero = hn::Zero(d);
  for (int64_t s = 0; s < keys; ++s) {
    if (dweights != nullptr) {
      // dw(s) = dy v(s)
      auto total = zero;
      over_row<T>(width, [&](auto load, auto, auto) HWY_ATTR {
        const auto gradient = load(dy);
        total = hn::Add(total, hn::IfThenZeroElse(hn::Eq(gradient, zero), hn::Mul(gradient, load(v + s * step))));
      });
      dweights[s] = lane_sum<T>(total);
    }
    if (dv != nullptr && weights[s] != 0) {
      // dv(s) = w(s) dy
      const auto weight = hn::Set(d, weights[s]);
      T* to = dv + s * step;
      over_row<T>(width, [&](auto load, auto store, auto) HWY_ATTR {
        const auto gradient = load(dy);
        store(hn::Add(load(to), hn::IfThenZeroElse(hn::Eq(gradient, zero), hn::Mul(weight, gradient))), to);
      });
    }
  }
}

void forward_float(const float* weights, const float* v, int64_t keys, int64_t step, int64_t width, float* y) {
  forward(weights, v, keys, step, width, y);
}
void forward_double(const double* weights, const double* v, int64_t keys, int64_t step, int64_t width, double* y) {
  forward(weights, v, keys, step, width, y);
}
void backward_float(const float* dy, const float* weights, const float* v, int64_t keys, int64_t step, int64_t width,
                    float* dweights, float* dv) {
  backward(dy, weights, v, keys, step, width, dweights, dv);
}
void backward_double(const double* dy, const double* weights, const double* v, int64_t keys, int64_t step,
                     int64_t width, double* dweights, double* dv) {
  backward(dy, weights, v, keys, step, width, dweights, dv);
}

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

/// f(T{}, b, head of v, first query head, behind the last) for every head of v of every sample.
template <class F>
void over_value_heads(const Tensor& weights, const Tensor& v, F&& f) {
  const int64_t value_heads = v.dim(2), group = weights.dim(1) / value_heads;
  const int64_t work = std::max<int64_t>(1, group * weights.dim(2) * weights.dim(3) * v.dim(3));
  constexpr int64_t kGrain = 16384;
  visit_floating(v.dtype(), "weighted_sum", [&]<class T>(T) {
    parallel_for(v.dim(0) * value_heads, std::max<int64_t>(1, kGrain / work), [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t head = i % value_heads;
        f(T{}, i / value_heads, head, head * group, (head + 1) * group);
      }
    });
  });
}

}  // namespace

void weighted_sum(const Tensor& weights, const Tensor& v, Tensor& y) {
  const int64_t heads = weights.dim(1), queries = weights.dim(2), keys = weights.dim(3);
  const int64_t width = v.dim(3), step = v.dim(2) * width;
  over_value_heads(weights, v, [&]<class T>(T, int64_t b, int64_t head, int64_t first, int64_t last) {
    const T* values = v.data<T>() + b * keys * step + head * width;
    for (int64_t h = first; h < last; ++h) {
      for (int64_t t = 0; t < queries; ++t) {
        const T* row = weights.data<T>() + ((b * heads + h) * queries + t) * keys;
        T* out = y.data<T>() + ((b * queries + t) * heads + h) * width;
        if constexpr (sizeof(T) == 4) {
          HWY_DYNAMIC_DISPATCH(forward_float)(row, values, keys, step, width, out);
        } else {
          HWY_DYNAMIC_DISPATCH(forward_double)(row, values, keys, step, width, out);
        }
      }
    }
  });
}

void weighted_sum_backward(const Tensor& dy, const Tensor& weights, const Tensor& v, Tensor& dweights, Tensor& dv,
                           bool accumulate) {
  const int64_t heads = weights.dim(1), queries = weights.dim(2), keys = weights.dim(3);
  const int64_t width = v.dim(3), step = v.dim(2) * width;
  over_value_heads(weights, v, [&]<class T>(T, int64_t b, int64_t head, int64_t first, int64_t last) {
    const int64_t at = b * keys * step + head * width;
    T* values_gradient = dv.defined() ? dv.data<T>() + at : nullptr;
    if (dv.defined() && !accumulate) {
      for (int64_t s = 0; s < keys; ++s) std::fill_n(values_gradient + s * step, width, T{0});
    }
    // The sums of many queries are made of partial ones, which go on to double precision.
    const bool many = dv.defined() && (last - first) * queries > kSumRows;
    double* totals = many ? scratch<double>(0, keys * width) : nullptr;
    if (many) std::fill_n(totals, keys * width, 0.0);
    const auto flush = [&](bool whole) {
      for (int64_t i = 0; i < keys * width; ++i) {
        T& part = values_gradient[i / width * step + i % width];
        totals[i] += static_cast<double>(part);
        part = whole ? static_cast<T>(totals[i]) : T{0};
      }
    };
    for (int64_t h = first; h < last; ++h) {
      for (int64_t t = 0; t < queries; ++t) {
        if (many && t % kSumRows == 0) flush(false);
        const int64_t row = ((b * heads + h) * queries + t) * keys;
        const T* gradient = dy.data<T>() + ((b * queries + t) * heads + h) * width;
        T* weights_gradient = dweights.defined() ? dweights.data<T>() + row : nullptr;
        if constexpr (sizeof(T) == 4) {
          HWY_DYNAMIC_DISPATCH(backward_float)
          (gradient, weights.data<T>() + row, v.data<T>() + at, keys, step, width, weights_gradient, values_gradient);
        } else {
          HWY_DYNAMIC_DISPATCH(backward_double)
          (gradient, weights.data<T>() + row, v.data<T>() + at, keys, step, width, weights_gradient, values_gradient);
        }
      }
    }
    if (many) flush(true);
  });
}

}  // namespace attune::cpu
#endif
