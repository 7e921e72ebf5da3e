#include "framework/kernels/compare.h"

#include "framework/kernels/cpu/strided.h"

namespace attune::cpu {
namespace {

constexpr int64_t kGrain = 8192;

template <class T>
auto ordered(T value) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return static_cast<float>(value);
  } else {
    return value;
  }
}

template <class T, class Holds>
void compare_all(const Tensor& a, const Tensor& b, Tensor& y, const Holds& holds) {
  const StridedLoop<3> loop(y.shape(), {&a, &b, &y});
  const T* from_a = a.data<T>();
  const T* from_b = b.data<T>();
  bool* out = y.data<bool>();
  loop.parallel_runs(kGrain, [&](const auto& offset, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      out[offset[2] + i * loop.step(2)] =
          holds(ordered(from_a[offset[0] + i * loop.step(0)]), ordered(from_b[offset[1] + i * loop.step(1)]));
    }
  });
}

}  // namespace

void compare(const Tensor& a, const Tensor& b, Comparison comparison, Tensor& y) {
  visit_any(a.dtype(), [&]<class T>(T) {
    switch (comparison) {
      case Comparison::kEqual:
        return compare_all<T>(a, b, y, [](auto x, auto z) { return x == z; });
      case Comparison::kNotEqual:
        return compare_all<T>(a, b, y, [](auto x, auto z) { return x != z; });
      case Comparison::kLess:
        return compare_all<T>(a, b, y, [](auto x, auto z) { return x < z; });
      case Comparison::kLessEqual:
        return compare_all<T>(a, b, y, [](auto x, auto z) { return x <= z; });
      case Comparison::kGreater:
        return compare_all<T>(a, b, y, [](auto x, auto z) { return x > z; });
      case Comparison::kGreaterEqual:
        return compare_all<T>(a, b, y, [](auto x, auto z) { return x >= z; });
    }
  });
}

}  // namespace attune::cpu
