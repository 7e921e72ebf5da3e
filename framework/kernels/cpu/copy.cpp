#include "framework/kernels/copy.h"

#include <algorithm>
#include <cstring>

#include "framework/kernels/cpu/strided.h"

namespace attune::cpu {
namespace {

constexpr int64_t kGrain = 16384;

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<From, bfloat16>) {
    return convert<To>(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bfloat16>) {
    return bfloat16(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != From{0};
  } else {
    return static_cast<To>(value);
  }
}

template <class To, class From>
void copy_run(const From* x, int64_t x_step, To* y, int64_t y_step, int64_t count) {
  if (x_step == 1 && y_step == 1) {
    if constexpr (std::is_same_v<To, From>) {
      std::memcpy(y, x, static_cast<size_t>(count) * sizeof(To));
    } else {
      for (int64_t i = 0; i < count; ++i) y[i] = convert<To>(x[i]);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) y[i * y_step] = convert<To>(x[i * x_step]);
  }
}

}  // namespace

void copy(const Tensor& x, Tensor& y) {
  const StridedLoop<2> loop(y.shape(), {&x, &y});
  visit_any(x.dtype(), [&]<class From>(From) {
    visit_any(y.dtype(), [&]<class To>(To) {
      const From* from = x.data<From>();
      To* to = y.data<To>();
      loop.parallel_runs(kGrain, [&](const auto& offset, int64_t count) {
        copy_run(from + offset[0], loop.step(0), to + offset[1], loop.step(1), count);
      });
    });
  });
}

void fill(Tensor& y, double value) {
  const StridedLoop<1> loop(y.shape(), {&y});
  visit_any(y.dtype(), [&]<class T>(T) {
    T* to = y.data<T>();
    const T filler = convert<T>(value);
    const int64_t step = loop.step(0);
    loop.parallel_runs(kGrain, [&](const auto& offset, int64_t count) {
      T* begin = to + offset[0];
      if (step == 1) {
        std::fill_n(begin, count, filler);
      } else {
        for (int64_t i = 0; i < count; ++i) begin[i * step] = filler;
      }
    });
  });
}

void arange(double begin, double step, Tensor& y) {
  const auto write = [&]<class T, class Number>(T* to, Number from, Number by) {
    parallel_for(y.numel(), kGrain, [&](int64_t first, int64_t last, int64_t) {
      for (int64_t i = first; i < last; ++i) to[i] = static_cast<T>(from + static_cast<Number>(i) * by);
    });
  };
  if (y.dtype() == DType::kInt64) {
    return write(y.data<int64_t>(), static_cast<int64_t>(begin), static_cast<int64_t>(step));
  }
  visit_floating(y.dtype(), "arange", [&]<class T>(T) { write(y.data<T>(), begin, step); });
}

}  // namespace attune::cpu
