#include "framework/kernels/pool.h"

#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/pool.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/rows.h"

#ifndef ATTUNE_FRAMEWORK_KERNELS_CPU_POOL_CPP_
#define ATTUNE_FRAMEWORK_KERNELS_CPU_POOL_CPP_
namespace attune::cpu {
namespace {

enum class Pass : uint8_t { kLargest, kLargestBackward, kAverage, kAverageBackward };

/// One picture; what is not needed is null.
template <class T>
struct Pooling {
  const PoolSpec* spec;
  int64_t channels;
  const T* x;  // [H, W, C]
  const T* y;  // [OH, OW, C]
  const T* dy;
  T* out;  // y forward, dx backward

  T factor(int64_t i, int64_t j) const {
    const PoolAxis& rows = spec->height;
    const PoolAxis& columns = spec->width;
    const int64_t count = spec->count_padding ? rows.size * columns.size
                                              : (rows.end(i) - rows.begin(i)) * (columns.end(j) - columns.begin(j));
    return T{1} / static_cast<T>(count);
  }
};

}  // namespace
}  // namespace attune::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

/// f(offset of the pixel in the picture) for every pixel of a window, row by row.
template <class T, class F>
HWY_INLINE void for_each_pixel(const Pooling<T>& p, int64_t i, int64_t j, F f) {
  const PoolAxis& columns = p.spec->width;
  for (int64_t row = p.spec->height.begin(i); row < p.spec->height.end(i); ++row) {
    for (int64_t column = columns.begin(j); column < columns.end(j); ++column) {
      f((row * columns.in + column) * p.channels);
    }
  }
}

/// f(i, j, offset of the output pixel) for the output's rows begin ... end - 1.
template <class T, class F>
HWY_INLINE void for_each_window(const Pooling<T>& p, int64_t begin, int64_t end, F f) {
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t j = 0; j < p.spec->width.out; ++j) f(i, j, (i * p.spec->width.out + j) * p.channels);
  }
}

template <class T>
void largest(const Pooling<T>& p, int64_t begin, int64_t end) {
  const hn::ScalableTag<T> d;
  for_each_window(p, begin, end, [&](int64_t i, int64_t j, int64_t at) HWY_ATTR {
    over_row<T>(p.channels, [&](auto load, auto store, auto) HWY_ATTR {
      auto top = hn::Set(d, -std::numeric_limits<T>::infinity());
      for_each_pixel(p, i, j, [&](int64_t from) HWY_ATTR {
        const auto v = load(p.x + from);
        top = hn::IfThenElse(hn::Or(hn::Gt(v, top), hn::IsNaN(v)), v, top);
      });
      store(top, p.out + at);
    });
  });
}

template <class T>
void largest_backward(const Pooling<T>& p, int64_t begin, int64_t end) {
  for_each_window(p, begin, end, [&](int64_t i, int64_t j, int64_t at) HWY_ATTR {
    over_row<T>(p.channels, [&](auto load, auto store, auto) HWY_ATTR {
      const auto top = load(p.y + at);
      auto gradient = load(p.dy + at);  // 0 once it has been given
      for_each_pixel(p, i, j, [&](int64_t from) HWY_ATTR {
        const auto v = load(p.x + from);
        const auto hit = hn::Or(hn::Eq(v, top), hn::IsNaN(v));
        store(hn::Add(load(p.out + from), hn::IfThenElseZero(hit, gradient)), p.out + from);
        gradient = hn::IfThenZeroElse(hit, gradient);
      });
    });
  });
}

template <class T>
void average(const Pooling<T>& p, int64_t begin, int64_t end) {
  const hn::ScalableTag<T> d;
  for_each_window(p, begin, end, [&](int64_t i, int64_t j, int64_t at) HWY_ATTR {
    const auto factor = hn::Set(d, p.factor(i, j));
    over_row<T>(p.channels, [&](auto load, auto store, auto) HWY_ATTR {
      auto sum = hn::Zero(d);
      for_each_pixel(p, i, j, [&](int64_t from) HWY_ATTR { sum = hn::Add(sum, load(p.x + from)); });
      store(hn::Mul(sum, factor), p.out + at);
    });
  });
}

template <class T>
void average_backward(const Pooling<T>& p, int64_t begin, int64_t end) {
  const hn::ScalableTag<T> d;
  for_each_window(p, begin, end, [&](int64_t i, int64_t j, int64_t at) HWY_ATTR {
    const auto factor = hn::Set(d, p.factor(i, j));
    over_row<T>(p.channels, [&](auto load, auto store, auto) HWY_ATTR {
      const auto gradient = hn::Mul(load(p.dy + at), factor);
      for_each_pixel(p, i, j,
                     [&](int64_t from) HWY_ATTR { store(hn::Add(load(p.out + from), gradient), p.out + from); });
    });
  });
}

template <class T>
void run(Pass pass, const Pooling<T>& p, int64_t begin, int64_t end) {
  switch (pass) {
    case Pass::kLargest:
      return largest(p, begin, end);
    case Pass::kLargestBackward:
      return largest_backward(p, begin, end);
    case Pass::kAverage:
      return average(p, begin, end);
    case Pass::kAverageBackward:
      return average_backward(p, begin, end);
  }
}

void run_float(Pass pass, const Pooling<float>& p, int64_t begin, int64_t end) { run(pass, p, begin, end); }
void run_double(Pass pass, const Pooling<double>& p, int64_t begin, int64_t end) { run(pass, p, begin, end); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(run_float);
HWY_EXPORT(run_double);

namespace {

constexpr int64_t kGrain = 16384;  // elements of a thread's share at least

void dispatch(Pass pass, const Pooling<float>& p, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(run_float)(pass, p, begin, end);
}
void dispatch(Pass pass, const Pooling<double>& p, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(run_double)(pass, p, begin, end);
}

int64_t grain_of(int64_t elements) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(elements, 1)); }

// Over rows of all outputs.
void forward(Pass pass, const char* name, const Tensor& x, const PoolSpec& spec, Tensor& y) {
  if (y.numel() == 0) return;
  visit_floating(y.dtype(), name, [&]<class T>(T) {
    const int64_t channels = x.dim(3);
    const int64_t rows = spec.height.out;
    const int64_t in = spec.height.in * spec.width.in * channels;
    const int64_t out = rows * spec.width.out * channels;
    parallel_for(x.dim(0) * rows, grain_of(std::max(in, out) / rows), [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t at = begin; at < end;) {
        const int64_t sample = at / rows;
        const int64_t stop = std::min(end, (sample + 1) * rows);
        dispatch(pass,
                 Pooling<T>{&spec, channels, x.data<T>() + sample * in, nullptr, nullptr, y.data<T>() + sample * out},
                 at - sample * rows, stop - sample * rows);
        at = stop;
      }
    });
  });
}

// Windows overlap: one thread adds up all of a picture's gradients. x and y may be undefined.
void backward(Pass pass, const char* name, const Tensor& dy, const Tensor& x, const Tensor& y, const PoolSpec& spec,
              Tensor& dx) {
  dx.zero_();
  visit_floating(dy.dtype(), name, [&]<class T>(T) {
    const int64_t channels = dx.dim(3);
    const int64_t in = spec.height.in * spec.width.in * channels;
    const int64_t out = spec.height.out * spec.width.out * channels;
    parallel_for(dx.dim(0), grain_of(in), [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t b = begin; b < end; ++b) {
        dispatch(
            pass,
            Pooling<T>{&spec, channels, x.defined() ? x.data<T>() + b * in : nullptr,
                       y.defined() ? y.data<T>() + b * out : nullptr, dy.data<T>() + b * out, dx.data<T>() + b * in},
            0, spec.height.out);
      }
    });
  });
}

}  // namespace

void max_pool2d(const Tensor& x, const PoolSpec& spec, Tensor& y) { forward(Pass::kLargest, "max_pool2d", x, spec, y); }

void max_pool2d_backward(const Tensor& dy, const Tensor& x, const Tensor& y, const PoolSpec& spec, Tensor& dx) {
  backward(Pass::kLargestBackward, "max_pool2d", dy, x, y, spec, dx);
}

void average_pool2d(const Tensor& x, const PoolSpec& spec, Tensor& y) {
  forward(Pass::kAverage, "average_pool2d", x, spec, y);
}

void average_pool2d_backward(const Tensor& dy, const PoolSpec& spec, Tensor& dx) {
  backward(Pass::kAverageBackward, "average_pool2d", dy, Tensor(), Tensor(), spec, dx);
}

}  // namespace attune::cpu
#endif
