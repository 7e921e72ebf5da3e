#include "framework/kernels/accumulate.h"

#include <cmath>

#include "framework/kernels/cpu/accumulate.h"
#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/accumulate.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

template <class T>
void add_range(const T* HWY_RESTRICT x, T* HWY_RESTRICT y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = y[i] + x[i];
}

void add_float(const float* x, float* y, int64_t n) { add_range(x, y, n); }
void add_double(const double* x, double* y, int64_t n) { add_range(x, y, n); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(add_float);
HWY_EXPORT(add_double);

void add_to(const float* from, float* to, int64_t n) { HWY_DYNAMIC_DISPATCH(add_float)(from, to, n); }
void add_to(const double* from, double* to, int64_t n) { HWY_DYNAMIC_DISPATCH(add_double)(from, to, n); }

void accumulate(const Tensor& x, Tensor& y) {
  const Tensor from = x.contiguous();
  constexpr int64_t kGrain = 16384;
  if (y.dtype() == DType::kBFloat16) {
    const bfloat16* a = from.data<bfloat16>();
    auto* b = y.data<bfloat16>();
    parallel_for(y.numel(), kGrain, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; ++i) b[i] = bfloat16(static_cast<float>(b[i]) + static_cast<float>(a[i]));
    });
    return;
  }
  visit_floating(y.dtype(), "accumulate", [&]<class T>(T) {
    const T* a = from.data<T>();
    T* b = y.data<T>();
    parallel_for(y.numel(), kGrain,
                 [&](int64_t begin, int64_t end, int64_t) { add_to(a + begin, b + begin, end - begin); });
  });
}

void find_non_finite(const Tensor& x, int64_t& index) {
  index = -1;
  const Tensor from = x.contiguous();
  const auto scan = [&](auto* data) {
    for (int64_t i = 0; i < from.numel(); ++i) {
      if (!std::isfinite(data[i])) {
        index = i;
        return;
      }
    }
  };
  switch (x.dtype()) {
    case DType::kFloat32:
      return scan(from.data<float>());
    case DType::kFloat64:
      return scan(from.data<double>());
    default:
      return;
  }
}

}  // namespace attune::cpu
#endif
