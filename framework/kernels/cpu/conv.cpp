#include "framework/kernels/conv.h"

#include <algorithm>

#include "framework/kernels/cpu/packed_matrix.h"
#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/conv.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/rows.h"

#ifndef ATTUNE_FRAMEWORK_KERNELS_CPU_CONV_CPP_
#define ATTUNE_FRAMEWORK_KERNELS_CPU_CONV_CPP_
namespace attune::cpu {
namespace {

/// How the pixels of one picture's output meet those of its input, for the channels of one group.
struct Patches {
  ConvSpec spec;
  int64_t height, width, channels;  // of the input
  int64_t out_width;
  int64_t first_channel, group_channels;
};

}  // namespace
}  // namespace attune::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

/// f(at, from, count) for the runs of the window of an output pixel: elements at ... at + count - 1 of the window are
/// those of the picture from `from` on, or outside of it where that is -1.
template <class F>
HWY_INLINE void for_each_run(const Patches& p, int64_t pixel, F f) {
  const ConvAxis& rows = p.spec.height;
  const ConvAxis& columns = p.spec.width;
  const int64_t top = pixel / p.out_width * rows.stride - rows.padding;
  const int64_t left = pixel % p.out_width * columns.stride - columns.padding;
  const bool whole_rows =
      columns.dilation == 1 && p.group_channels == p.channels && left >= 0 && left + columns.size <= p.width;
  int64_t at = 0;
  for (int64_t i = 0; i < rows.size; ++i) {
    const int64_t y = top + i * rows.dilation;
    const bool inside = y >= 0 && y < p.height;
    if (whole_rows || !inside) {
      const int64_t count = columns.size * p.group_channels;
      f(at, inside ? (y * p.width + left) * p.channels : -1, count);
      at += count;
      continue;
    }
    for (int64_t j = 0; j < columns.size; ++j) {
      const int64_t x = left + j * columns.dilation;
      f(at, x >= 0 && x < p.width ? (y * p.width + x) * p.channels + p.first_channel : -1, p.group_channels);
      at += p.group_channels;
    }
  }
}

/// Windows of output pixels begin ... end - 1, one behind the other.
template <class T>
void unfold(const Patches& patches, const T* picture, int64_t size, int64_t begin, int64_t end, T* windows) {
  const hn::ScalableTag<T> d;
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    T* window = windows + (pixel - begin) * size;
    for_each_run(patches, pixel, [&](int64_t at, int64_t from, int64_t count) HWY_ATTR {
      T* to = window + at;
      const T* values = picture + std::max<int64_t>(from, 0);
      over_row<T>(count,
                  [&](auto load, auto store, auto) HWY_ATTR { store(from < 0 ? hn::Zero(d) : load(values), to); });
    });
  }
}

/// Adds the windows of output pixels begin ... end - 1 to the picture they were taken from.
template <class T>
void fold(const Patches& patches, const T* windows, int64_t size, int64_t begin, int64_t end, T* picture) {
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    const T* window = windows + (pixel - begin) * size;
    for_each_run(patches, pixel, [&](int64_t at, int64_t from, int64_t count) HWY_ATTR {
      if (from < 0) return;
      const T* values = window + at;
      T* to = picture + from;
      over_row<T>(count, [&](auto load, auto store, auto) HWY_ATTR { store(hn::Add(load(to), load(values)), to); });
    });
  }
}

/// to += from
template <class T>
void add(const T* from, T* to, int64_t n) {
  over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR { store(hn::Add(load(to), load(from)), to); });
}

void unfold_float(const Patches& p, const float* picture, int64_t size, int64_t begin, int64_t end, float* windows) {
  unfold(p, picture, size, begin, end, windows);
}
void unfold_double(const Patches& p, const double* picture, int64_t size, int64_t begin, int64_t end, double* windows) {
  unfold(p, picture, size, begin, end, windows);
}
void fold_float(const Patches& p, const float* w, int64_t size, int64_t begin, int64_t end, float* picture) {
  fold(p, w, size, begin, end, picture);
}
void fold_double(const Patches& p, const double* w, int64_t size, int64_t begin, int64_t end, double* picture) {
  fold(p, w, size, begin, end, picture);
}
void add_float(const float* from, float* to, int64_t n) { add(from, to, n); }
void add_double(const double* from, double* to, int64_t n) { add(from, to, n); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(unfold_float);
HWY_EXPORT(unfold_double);
HWY_EXPORT(fold_float);
HWY_EXPORT(fold_double);
HWY_EXPORT(add_float);
HWY_EXPORT(add_double);

namespace {

// Windows of output pixels begin ... end - 1 of a picture: taken out of it, and added to it.
void unfold(const Patches& p, const float* picture, int64_t size, int64_t begin, int64_t end, float* windows) {
  HWY_DYNAMIC_DISPATCH(unfold_float)(p, picture, size, begin, end, windows);
}
void unfold(const Patches& p, const double* picture, int64_t size, int64_t begin, int64_t end, double* windows) {
  HWY_DYNAMIC_DISPATCH(unfold_double)(p, picture, size, begin, end, windows);
}
void fold(const Patches& p, const float* windows, int64_t size, int64_t begin, int64_t end, float* picture) {
  HWY_DYNAMIC_DISPATCH(fold_float)(p, windows, size, begin, end, picture);
}
void fold(const Patches& p, const double* windows, int64_t size, int64_t begin, int64_t end, double* picture) {
  HWY_DYNAMIC_DISPATCH(fold_double)(p, windows, size, begin, end, picture);
}
void add(const float* from, float* to, int64_t n) { HWY_DYNAMIC_DISPATCH(add_float)(from, to, n); }
void add(const double* from, double* to, int64_t n) { HWY_DYNAMIC_DISPATCH(add_double)(from, to, n); }

constexpr int kWindows = 1;  // scratch; the products use 0

/// Sizes of a call, and how its output pixels are cut into blocks.
struct Plan {
  Plan(const ConvSpec& spec, const Tensor& x, const Tensor& y)
      : batch(x.dim(0)),
        in_pixels(x.dim(1) * x.dim(2)),
        out_pixels(y.dim(1) * y.dim(2)),
        channels(x.dim(3)),
        out_channels(y.dim(3)),
        group_out(out_channels / spec.groups),
        window(spec.height.size * spec.width.size * (channels / spec.groups)),
        pointwise(spec.height.size == 1 && spec.width.size == 1 && spec.height.stride == 1 && spec.width.stride == 1 &&
                  spec.height.padding == 0 && spec.width.padding == 0),
        patches{spec, x.dim(1), x.dim(2), channels, y.dim(2), 0, channels / spec.groups},
        // Windows of a block stay in the second-level cache, and there are enough of them to be worth the weights.
        block(std::clamp<int64_t>(65536 / window, 48, 240)),
        blocks((out_pixels + block - 1) / block) {}

  /// The patches of one group.
  Patches of_group(int64_t group) const {
    Patches out = patches;
    out.first_channel = group * patches.group_channels;
    return out;
  }
  int64_t begin(int64_t which) const { return which * block; }
  int64_t end(int64_t which) const { return std::min(out_pixels, (which + 1) * block); }
  /// Blocks, or pictures of `per_item` of them, below which a hand-off costs more than it saves.
  int64_t grain(int64_t per_item) const {
    constexpr int64_t kWork = 100'000;
    return std::max<int64_t>(1, kWork / std::max<int64_t>(per_item * block * window * group_out, 1));
  }

  int64_t batch, in_pixels, out_pixels, channels, out_channels, group_out;
  int64_t window;  // elements
  bool pointwise;
  Patches patches;
  int64_t block, blocks;
};

template <class T>
void forward(const ConvSpec& spec, const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y) {
  const Plan plan(spec, x, y);
  const T* in = x.data<T>();
  T* out = y.data<T>();
  for (int64_t group = 0; group < spec.groups; ++group) {
    const int64_t first = group * plan.group_out;
    const T* shift = bias.defined() ? bias.data<T>() + first : nullptr;
    const Operand<T> b{weight.data<T>() + first * plan.window, 1, plan.window};
    if (plan.pointwise) {
      Product<T> product;
      product.m = plan.batch * plan.out_pixels;
      product.n = plan.group_out;
      product.k = plan.window;
      product.a = {in + group * plan.window, plan.channels, 1};
      product.b = b;
      product.c = out + first;
      product.ldc = plan.out_channels;
      product.bias = shift;
      parallel_gemm(product);
      continue;
    }
    const PackedMatrix<T> packed(b, plan.window, plan.group_out);
    const Patches patches = plan.of_group(group);
    parallel_for(plan.batch * plan.blocks, plan.grain(1), [&](int64_t begin, int64_t end, int64_t) {
      T* windows = scratch<T>(kWindows, plan.block * plan.window);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t sample = i / plan.blocks;
        const int64_t from = plan.begin(i % plan.blocks);
        const int64_t to = plan.end(i % plan.blocks);
        unfold(patches, in + sample * plan.in_pixels * plan.channels, plan.window, from, to, windows);
        packed.multiply({windows, plan.window, 1}, to - from,
                        out + (sample * plan.out_pixels + from) * plan.out_channels + first, plan.out_channels, false,
                        shift);
      }
    });
  }
}

template <class T>
void backward_input(const ConvSpec& spec, const Tensor& dy, const Tensor& weight, Tensor& dx) {
  const Plan plan(spec, dx, dy);
  const T* from = dy.data<T>();
  T* to = dx.data<T>();
  if (!plan.pointwise) dx.zero_();
  for (int64_t group = 0; group < spec.groups; ++group) {
    const int64_t first = group * plan.group_out;
    const Operand<T> b{weight.data<T>() + first * plan.window, plan.window, 1};
    if (plan.pointwise) {
      Product<T> product;
      product.m = plan.batch * plan.out_pixels;
      product.n = plan.window;
      product.k = plan.group_out;
      product.a = {from + first, plan.out_channels, 1};
      product.b = b;
      product.c = to + group * plan.window;
      product.ldc = plan.channels;
      parallel_gemm(product);
      continue;
    }
    const PackedMatrix<T> packed(b, plan.group_out, plan.window);
    const Patches patches = plan.of_group(group);
    // Windows overlap: one thread adds up all of a picture's.
    parallel_for(plan.batch, plan.grain(plan.blocks), [&](int64_t begin, int64_t end, int64_t) {
      T* windows = scratch<T>(kWindows, plan.block * plan.window);
      for (int64_t i = begin * plan.blocks; i < end * plan.blocks; ++i) {
        const int64_t sample = i / plan.blocks;
        const int64_t first_pixel = plan.begin(i % plan.blocks);
        const int64_t last_pixel = plan.end(i % plan.blocks);
        const T* rows = from + (sample * plan.out_pixels + first_pixel) * plan.out_channels + first;
        packed.multiply({rows, plan.out_channels, 1}, last_pixel - first_pixel, windows, plan.window, false);
        T* picture = to + sample * plan.in_pixels * plan.channels;
        fold(patches, windows, plan.window, first_pixel, last_pixel, picture);
      }
    });
  }
}

template <class T>
void backward_weight(const ConvSpec& spec, const Tensor& dy, const Tensor& x, Tensor& dweight) {
  const Plan plan(spec, x, dy);
  const T* gradient = dy.data<T>();
  const T* in = x.data<T>();
  T* out = dweight.data<T>();
  const int64_t size = plan.group_out * plan.window;
  if (!plan.pointwise) dweight.zero_();
  // Every thread sums its blocks, the first one in place; the shares are added in order.
  const int64_t shares = num_threads();
  Tensor partial = plan.pointwise ? Tensor() : Tensor::empty({shares - 1, size}, dy.dtype());
  for (int64_t group = 0; group < spec.groups; ++group) {
    const int64_t first = group * plan.group_out;
    T* to = out + group * size;
    Product<T> product;
    product.m = plan.group_out;
    product.n = plan.window;
    product.ldc = plan.window;
    if (plan.pointwise) {
      product.k = plan.batch * plan.out_pixels;
      product.a = {gradient + first, 1, plan.out_channels};
      product.b = {in + group * plan.window, plan.channels, 1};
      product.c = to;
      parallel_gemm(product);
      continue;
    }
    T* sums = partial.data<T>();
    partial.zero_();
    const Patches patches = plan.of_group(group);
    parallel_for(plan.batch * plan.blocks, plan.grain(1), [&](int64_t begin, int64_t end, int64_t chunk) {
      T* windows = scratch<T>(kWindows, plan.block * plan.window);
      Product<T> part = product;
      part.c = chunk == 0 ? to : sums + (chunk - 1) * size;
      part.b = {windows, plan.window, 1};
      part.accumulate = true;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t sample = i / plan.blocks;
        const int64_t first_pixel = plan.begin(i % plan.blocks);
        part.k = plan.end(i % plan.blocks) - first_pixel;
        part.a = {gradient + (sample * plan.out_pixels + first_pixel) * plan.out_channels + first, 1,
                  plan.out_channels};
        unfold(patches, in + sample * plan.in_pixels * plan.channels, plan.window, first_pixel, first_pixel + part.k,
               windows);
        gemm(part);
      }
    });
    for (int64_t share = 0; share + 1 < shares; ++share) {
      add(sums + share * size, to, size);
    }
  }
}

}  // namespace

void conv2d(const ConvSpec& spec, const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y) {
  visit_floating(y.dtype(), "conv2d", [&]<class T>(T) { forward<T>(spec, x, weight, bias, y); });
}

void conv2d_backward_input(const ConvSpec& spec, const Tensor& dy, const Tensor& weight, Tensor& dx) {
  visit_floating(dy.dtype(), "conv2d", [&]<class T>(T) { backward_input<T>(spec, dy, weight, dx); });
}

void conv2d_backward_weight(const ConvSpec& spec, const Tensor& dy, const Tensor& x, Tensor& dweight) {
  visit_floating(dy.dtype(), "conv2d", [&]<class T>(T) { backward_weight<T>(spec, dy, x, dweight); });
}

}  // namespace attune::cpu
#endif
