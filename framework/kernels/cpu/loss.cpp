#include "framework/kernels/loss.h"

#include <cmath>

#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/loss.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/rows.h"
#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

template <class T>
void forward_row(const T* x, int64_t n, int64_t target, double smoothing, T& loss, T& lse) {
  const hn::ScalableTag<T> d;
  const T largest = row_max(x, n);
  const auto top = hn::Set(d, largest);
  auto total = hn::Zero(d);
  auto plain = hn::Zero(d);
  over_row<T>(n, [&](auto load, auto, auto valid) HWY_ATTR {
    const auto v = load(x);
    total = hn::Add(total, valid(Exp(d, hn::Sub(v, top))));
    plain = hn::Add(plain, v);
  });
  lse = largest + std::log(lane_sum<T>(total));
  // -sum q log p = lse - (1 - e) x_target - e mean(x)
  const auto e = static_cast<T>(smoothing);
  loss = lse - (1 - e) * x[target] - (e > 0 ? e * (lane_sum<T>(plain) / static_cast<T>(n)) : 0);
}

template <class T>
void backward_row(const T* x, int64_t n, int64_t target, double smoothing, T lse, T scale, T* dx) {
  const hn::ScalableTag<T> d;
  const auto base = hn::Set(d, lse);
  const auto factor = hn::Set(d, scale);
  const auto uniform = hn::Set(d, scale * static_cast<T>(smoothing) / static_cast<T>(n));
  over_row<T>(n, [&](auto load, auto store, auto)
                     HWY_ATTR { store(hn::Sub(hn::Mul(factor, Exp(d, hn::Sub(load(x), base))), uniform), dx); });
  dx[target] -= scale * static_cast<T>(1 - smoothing);
}

void forward_float(const float* x, int64_t n, int64_t target, double smoothing, float& loss, float& lse) {
  forward_row(x, n, target, smoothing, loss, lse);
}
void forward_double(const double* x, int64_t n, int64_t target, double smoothing, double& loss, double& lse) {
  forward_row(x, n, target, smoothing, loss, lse);
}
void backward_float(const float* x, int64_t n, int64_t target, double smoothing, float lse, float scale, float* dx) {
  backward_row(x, n, target, smoothing, lse, scale, dx);
}
void backward_double(const double* x, int64_t n, int64_t target, double smoothing, double lse, double scale,
                     double* dx) {
  backward_row(x, n, target, smoothing, lse, scale, dx);
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
int64_t row_grain(int64_t width) { return std::max<int64_t>(1, 4096 / std::max<int64_t>(width, 1)); }
}  // namespace

void cross_entropy(const Tensor& logits, const Tensor& targets, const CrossEntropySpec& spec, Tensor& loss,
                   Tensor& lse) {
  const int64_t n = logits.shape()[1];
  const int64_t* target = targets.data<int64_t>();
  visit_floating(logits.dtype(), "cross_entropy", [&]<class T>(T) {
    const T* x = logits.data<T>();
    T* losses = loss.data<T>();
    T* sums = lse.data<T>();
    parallel_for(logits.shape()[0], row_grain(n), [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t r = begin; r < end; ++r) {
        if (target[r] == spec.ignore_index) {
          losses[r] = sums[r] = 0;
        } else if constexpr (sizeof(T) == 4) {
          HWY_DYNAMIC_DISPATCH(forward_float)(x + r * n, n, target[r], spec.smoothing, losses[r], sums[r]);
        } else {
          HWY_DYNAMIC_DISPATCH(forward_double)(x + r * n, n, target[r], spec.smoothing, losses[r], sums[r]);
        }
      }
    });
  });
}

void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const CrossEntropySpec& spec,
                            const Tensor& lse, double scale, Tensor& dlogits) {
  const int64_t n = logits.shape()[1];
  const int64_t* target = targets.data<int64_t>();
  visit_floating(logits.dtype(), "cross_entropy", [&]<class T>(T) {
    const T* x = logits.data<T>();
    const T* sums = lse.data<T>();
    T* dx = dlogits.data<T>();
    const auto factor = static_cast<T>(scale);
    parallel_for(logits.shape()[0], row_grain(n), [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t r = begin; r < end; ++r) {
        if (target[r] == spec.ignore_index) {
          std::fill(dx + r * n, dx + (r + 1) * n, T{0});
        } else if constexpr (sizeof(T) == 4) {
          HWY_DYNAMIC_DISPATCH(backward_float)
          (x + r * n, n, target[r], spec.smoothing, sums[r], factor, dx + r * n);
        } else {
          HWY_DYNAMIC_DISPATCH(backward_double)
          (x + r * n, n, target[r], spec.smoothing, sums[r], factor, dx + r * n);
        }
      }
    });
  });
}

}  // namespace attune::cpu
#endif
