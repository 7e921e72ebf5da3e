#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "framework/kernels/cpu/strided.h"

namespace attune::cpu {

/// out[i] = f(in[0][i], ..., in[N - 1][i]) for i < n; out may be one of the inputs. T: float or double. first and
/// second: numbers the formula takes.
template <class T, size_t N>
using MapFunction = void (*)(double first, double second, const std::array<const T*, N>& in, T* out, int64_t n);

/// A formula compiled for both computing types.
template <size_t N>
struct Map {
  MapFunction<float, N> f32;
  MapFunction<double, N> f64;
};

namespace detail {

inline constexpr int64_t kMapBlock = 256;

// Operands that are not contiguous runs of the computing type pass through blocks on the stack, so that every formula
// is compiled for contiguous runs only.
template <class Stored, class T, size_t N>
void run_map(MapFunction<T, N> f, double first, double second, const std::array<const Tensor*, N>& in, Tensor& y) {
  std::array<const Tensor*, N + 1> all;
  std::copy(in.begin(), in.end(), all.begin());
  all[N] = &y;
  const StridedLoop<N + 1> loop(y.shape(), all);
  std::array<const Stored*, N> data;
  for (size_t k = 0; k < N; ++k) data[k] = in[k]->template data<Stored>();
  auto* out = y.data<Stored>();

  constexpr bool kSame = std::is_same_v<Stored, T>;
  std::array<bool, N + 1> direct;
  for (size_t k = 0; k <= N; ++k) direct[k] = kSame && loop.step(k) == 1;
  const bool all_direct = std::all_of(direct.begin(), direct.end(), [](bool d) { return d; });

  constexpr int64_t kGrain = 8192;
  loop.parallel_runs(kGrain, [&](const auto& offset, int64_t count) {
    std::array<const T*, N> from;
    if constexpr (kSame) {
      if (all_direct) {
        for (size_t k = 0; k < N; ++k) from[k] = data[k] + offset[k];
        f(first, second, from, out + offset[N], count);
        return;
      }
    }
    alignas(64) T blocks[N + 1][kMapBlock];
    for (int64_t begin = 0; begin < count; begin += kMapBlock) {
      const int64_t n = std::min(kMapBlock, count - begin);
      for (size_t k = 0; k < N; ++k) {
        const int64_t step = loop.step(k);
        const Stored* source = data[k] + offset[k] + begin * step;
        from[k] = blocks[k];
        if constexpr (kSame) {
          if (direct[k]) {
            from[k] = source;
            continue;
          }
        }
        if (step == 0) {
          if (begin == 0) std::fill_n(blocks[k], n, static_cast<T>(*source));
        } else {
          for (int64_t i = 0; i < n; ++i) blocks[k][i] = static_cast<T>(source[i * step]);
        }
      }
      const int64_t step = loop.step(N);
      Stored* target = out + offset[N] + begin * step;
      if constexpr (kSame) {
        if (direct[N]) {
          f(first, second, from, target, n);
          continue;
        }
      }
      f(first, second, from, blocks[N], n);
      for (int64_t i = 0; i < n; ++i) target[i * step] = static_cast<Stored>(blocks[N][i]);
    }
  });
}

}  // namespace detail

/// y = f(in ...) elementwise, operands broadcast to the shape of y, all of one floating dtype.
template <size_t N>
void run_map(const char* who, const Map<N>& map, const std::array<const Tensor*, N>& in, Tensor& y, double first = 0,
             double second = 0) {
  switch (y.dtype()) {
    case DType::kFloat32:
      return detail::run_map<float, float>(map.f32, first, second, in, y);
    case DType::kFloat64:
      return detail::run_map<double, double>(map.f64, first, second, in, y);
    case DType::kBFloat16:
      return detail::run_map<bfloat16, float>(map.f32, first, second, in, y);
    default:
      fail_dtype(who, y.dtype(), "a floating dtype");
  }
}

}  // namespace attune::cpu
