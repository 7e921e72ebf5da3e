#include "framework/kernels/mask.h"

namespace attune::cpu {
namespace {

/// f(row of y, rows of the operands) for every run along the last axis; operands in row-major order of y's shape.
template <class F>
void for_rows(const Tensor& a, const Tensor& b, Tensor& y, F&& f) {
  const Shape& shape = y.shape();
  const int axes = shape.rank() - 1;
  bool* out = y.data<bool>();
  if (axes < 0) {
    f(out, a.data<bool>(), 0, b.data<bool>(), 0, 1);
    return;
  }
  const int64_t n = shape[axes];
  const int64_t rows = n == 0 ? 0 : y.numel() / n;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t at_a = 0;
    int64_t at_b = 0;
    int64_t rest = row;
    for (int axis = axes - 1; axis >= 0; --axis) {
      at_a += rest % shape[axis] * a.strides()[axis];
      at_b += rest % shape[axis] * b.strides()[axis];
      rest /= shape[axis];
    }
    f(out + row * n, a.data<bool>() + at_a, a.strides()[axes], b.data<bool>() + at_b, b.strides()[axes], n);
  }
}

}  // namespace

void logical_and(const Tensor& a, const Tensor& b, Tensor& y) {
  for_rows(a, b, y, [](bool* out, const bool* pa, int64_t step_a, const bool* pb, int64_t step_b, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = pa[i * step_a] && pb[i * step_b];
  });
}

void logical_or(const Tensor& a, const Tensor& b, Tensor& y) {
  for_rows(a, b, y, [](bool* out, const bool* pa, int64_t step_a, const bool* pb, int64_t step_b, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = pa[i * step_a] || pb[i * step_b];
  });
}

void logical_not(const Tensor& x, Tensor& y) {
  for_rows(x, x, y, [](bool* out, const bool* px, int64_t step, const bool*, int64_t, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = !px[i * step];
  });
}

}  // namespace attune::cpu
