#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/random.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/dropout.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/philox.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

void dropout_float(const float* x, RandomState state, double p, int64_t begin, int64_t end, float* y) {
  DropoutRange(state, DropoutScale(p), begin, end - begin, x + begin, y + begin);
}

void dropout_double(const double* x, RandomState state, double p, int64_t begin, int64_t end, double* y) {
  DropoutRange(state, DropoutScale(p), begin, end - begin, x + begin, y + begin);
}

void dropout_bfloat16(const bfloat16* x, RandomState state, double p, int64_t begin, int64_t end, bfloat16* y) {
  const DropoutScale dropout(p);
  HWY_ALIGN float scales[64];
  for (int64_t at = begin; at < end;) {
    const int64_t n = std::min(end, at / 64 * 64 + 64) - at;
    DropoutScales(state, dropout, at, n, scales);
    for (int64_t i = 0; i < n; ++i) {
      y[at + i] = scales[i] == 0 ? bfloat16() : bfloat16(static_cast<float>(x[at + i]) * scales[i]);
    }
    at += n;
  }
}

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(dropout_float);
HWY_EXPORT(dropout_double);
HWY_EXPORT(dropout_bfloat16);

void dropout(const Tensor& x, RandomState state, double p, Tensor& y) {
  if (!is_floating(x.dtype())) fail_dtype("dropout", x.dtype(), "a floating dtype");
  const Tensor from = x.contiguous();
  constexpr int64_t kGrain = 8192;
  // Threads begin at blocks of 64, so that no block is drawn twice.
  parallel_for((x.numel() + 63) / 64, kGrain / 64, [&](int64_t begin, int64_t end, int64_t) {
    begin *= 64;
    end = std::min(end * 64, x.numel());
    switch (x.dtype()) {
      case DType::kFloat32:
        return HWY_DYNAMIC_DISPATCH(dropout_float)(from.data<float>(), state, p, begin, end, y.data<float>());
      case DType::kFloat64:
        return HWY_DYNAMIC_DISPATCH(dropout_double)(from.data<double>(), state, p, begin, end, y.data<double>());
      default:
        return HWY_DYNAMIC_DISPATCH(dropout_bfloat16)(from.data<bfloat16>(), state, p, begin, end, y.data<bfloat16>());
    }
  });
}

}  // namespace attune::cpu
#endif
