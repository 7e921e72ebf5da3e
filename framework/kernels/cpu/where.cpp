#include "framework/kernels/cpu/strided.h"
#include "framework/kernels/elementwise.h"

namespace attune::cpu {
namespace {

constexpr int64_t kGrain = 8192;

template <class T>
auto comparable(T value) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return static_cast<float>(value);
  } else {
    return value;
  }
}

}  // namespace

void where(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
  visit_any(y.dtype(), [&]<class T>(T) {
    const Tensor zero = a.defined() && b.defined() ? Tensor() : Tensor::zeros({}, y.dtype());
    const Tensor& chosen = a.defined() ? a : zero;
    const Tensor& other = b.defined() ? b : zero;
    const StridedLoop<4> loop(y.shape(), {&condition, &chosen, &other, &y});
    const bool* keep = condition.data<bool>();
    const T* from_a = chosen.data<T>();
    const T* from_b = other.data<T>();
    T* out = y.data<T>();
    loop.parallel_runs(kGrain, [&](const auto& offset, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        const T value_a = from_a[offset[1] + i * loop.step(1)];
        const T value_b = from_b[offset[2] + i * loop.step(2)];
        out[offset[3] + i * loop.step(3)] = keep[offset[0] + i * loop.step(0)] ? value_a : value_b;
      }
    });
  });
}

void prefers_first(const Tensor& a, const Tensor& b, bool minimum, Tensor& first) {
  visit_any(a.dtype(), [&]<class T>(T) {
    const StridedLoop<3> loop(first.shape(), {&a, &b, &first});
    const T* from_a = a.data<T>();
    const T* from_b = b.data<T>();
    bool* out = first.data<bool>();
    loop.parallel_runs(kGrain, [&](const auto& offset, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        const auto x = comparable(from_a[offset[0] + i * loop.step(0)]);
        const auto y = comparable(from_b[offset[1] + i * loop.step(1)]);
        out[offset[2] + i * loop.step(2)] = (minimum ? x <= y : x >= y) || x != x;
      }
    });
  });
}

}  // namespace attune::cpu
