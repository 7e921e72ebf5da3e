#include "framework/kernels/conv.h"

#include <algorithm>
#include <numeric>

#include "framework/kernels/cpu/conv_pass.h"
#include "framework/kernels/cpu/conv_winograd.h"

namespace attune::cpu {
namespace {

/// Sizes of a convolution.
struct Sizes {
  Sizes(const ConvSpec& spec, const Tensor& x, const Tensor& y)
      : batch(x.dim(0)),
        height(x.dim(1)),
        width(x.dim(2)),
        channels(x.dim(3)),
        out_height(y.dim(1)),
        out_width(y.dim(2)),
        out_channels(y.dim(3)),
        group_channels(channels / spec.groups),
        group_out(out_channels / spec.groups),
        window(spec.height.size * spec.width.size * group_channels),
        pixels(batch * out_height * out_width),
        pointwise(is_pointwise(spec.height) && is_pointwise(spec.width)) {}

  int64_t batch, height, width, channels;
  int64_t out_height, out_width, out_channels;
  int64_t group_channels, group_out;
  int64_t window;  // elements of the weights of an output channel
  int64_t pixels;  // of all outputs
  bool pointwise;  // a linear map of each pixel

 private:
  static bool is_pointwise(const ConvAxis& axis) { return axis.size == 1 && axis.stride == 1 && axis.padding == 0; }
};

/// Windows of the input for the output pixels.
template <class T>
ConvWindows<T> input_windows(const ConvSpec& spec, const Sizes& s, const T* x, int64_t group) {
  return {.rows = forward_sight(spec.height, s.out_height),
          .columns = forward_sight(spec.width, s.out_width),
          .batch = s.batch,
          .height = s.height,
          .width = s.width,
          .pitch = s.channels,
          .channels = s.group_channels,
          .pictures = x + group * s.group_channels};
}

/// B [k, n] as multiply_windows() takes it, on all threads.
template <class T>
Tensor packed(const Operand<T>& b, int64_t k, int64_t n) {
  Tensor memory = Tensor::empty({k * packed_columns(n)}, kDTypeOf<T>);
  T* to = memory.data<T>();
  const int64_t steps = (n + kPackedStep - 1) / kPackedStep;
  parallel_for(steps, grain_of(k * kPackedStep), [&](int64_t begin, int64_t end, int64_t) {
    const int64_t from = begin * kPackedStep;
    pack(b.at(0, from), k, std::min(n, end * kPackedStep) - from, to + from * k);
  });
  return memory;
}

/// Every output of the pass from its window: the product with weights [w.elements(), results.n], plus bias.
template <class T>
void convolve(const ConvWindows<T>& w, const Operand<T>& weights, const T* bias, const Results<T>& results) {
  if (suits_winograd(w, results.n)) return convolve_tiles(w, weights, bias, results);
  const ConvBlocks blocks(w);
  const Tensor b = packed(weights, w.elements(), results.n);
  const int64_t work = blocks.outputs() * w.elements() * results.n;
  parallel_for(blocks.count(), grain_of(work), [&](int64_t begin, int64_t end, int64_t) {
    const Reader<T> reader(w, blocks, w.within_pictures());
    const T** sources = scratch<const T*>(kSources, blocks.outputs() + kWindowTile);
    T** targets = scratch<T*>(kTargets, blocks.outputs() + kWindowTile);
    T* nowhere = scratch<T>(kNowhere, results.n);
    for (int64_t i = begin; i < end; ++i) {
      const ConvBlock block = blocks[i];
      const ConvFrame<T> frame = reader.open(block);
      const int64_t outputs = list_windows(w, block, frame, results, sources, targets);
      // The last tile may take more.
      std::fill_n(sources + outputs, kWindowTile, frame.first);
      std::fill_n(targets + outputs, kWindowTile, nowhere);
      multiply_windows(WindowProduct<T>{.a = sources,
                                        .c = targets,
                                        .rows = outputs,
                                        .runs = reader.runs(),
                                        .b = b.data<T>(),
                                        .n = results.n,
                                        .bias = bias});
    }
  });
}

template <class T>
void forward(const ConvSpec& spec, const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y) {
  const Sizes s(spec, x, y);
  for (int64_t group = 0; group < spec.groups; ++group) {
    const int64_t first = group * s.group_out;
    const T* shift = bias.defined() ? bias.data<T>() + first : nullptr;
    const Operand<T> b{weight.data<T>() + first * s.window, 1, s.window};
    if (!s.pointwise) {
      convolve(input_windows(spec, s, x.data<T>(), group), b, shift,
               {y.data<T>() + first, s.out_height, s.out_width, s.out_channels, s.group_out});
      continue;
    }
    Product<T> product;
    product.m = s.pixels;
    product.n = s.group_out;
    product.k = s.window;
    product.a = {x.data<T>() + group * s.window, s.channels, 1};
    product.b = b;
    product.c = y.data<T>() + first;
    product.ldc = s.out_channels;
    product.bias = shift;
    parallel_gemm(product);
  }
}

/// The gradient is a convolution of dy too, a different one for each phase of the stride.
template <class T>
void input_gradient(const ConvSpec& spec, const Sizes& s, const Tensor& dy, const T* weight, int64_t group,
                    Tensor& dx) {
  const int64_t first = group * s.group_out;
  const Results<T> results{dx.data<T>() + group * s.group_channels, s.height, s.width, s.channels, s.group_channels};
  Tensor turned = Tensor::empty({s.group_out * s.window}, dy.dtype());
  for (int64_t i = 0; i < spec.height.stride * spec.width.stride; ++i) {
    const ConvWindows<T> w{.rows = backward_sight(spec.height, s.height, i / spec.width.stride),
                           .columns = backward_sight(spec.width, s.width, i % spec.width.stride),
                           .batch = s.batch,
                           .height = s.out_height,
                           .width = s.out_width,
                           .pitch = s.out_channels,
                           .channels = s.group_out,
                           .pictures = dy.data<T>() + first};
    if (w.taps() == 0) continue;
    T* to = turned.data<T>();  // [taps, group_out, group_channels]
    for (int64_t t = 0; t < w.rows.taps; ++t) {
      for (int64_t u = 0; u < w.columns.taps; ++u) {
        const int64_t place =
            (w.rows.weight + t * w.rows.weight_step) * spec.width.size + w.columns.weight + u * w.columns.weight_step;
        const T* from = weight + first * s.window + place * s.group_channels;
        for (int64_t o = 0; o < s.group_out; ++o, to += s.group_channels) {
          std::copy_n(from + o * s.window, s.group_channels, to);
        }
      }
    }
    convolve<T>(w, {turned.data<T>(), s.group_channels, 1}, nullptr, results);
  }
}

template <class T>
void backward_input(const ConvSpec& spec, const Tensor& dy, const Tensor& weight, Tensor& dx) {
  const Sizes s(spec, dx, dy);
  // Where the stride is longer than the window, some inputs are not seen at all.
  if (spec.height.size < spec.height.stride || spec.width.size < spec.width.stride ||
      std::gcd(spec.height.stride, spec.height.dilation) > 1 || std::gcd(spec.width.stride, spec.width.dilation) > 1) {
    dx.zero_();
  }
  for (int64_t group = 0; group < spec.groups; ++group) {
    if (!s.pointwise) {
      input_gradient(spec, s, dy, weight.data<T>(), group, dx);
      continue;
    }
    Product<T> product;
    product.m = s.pixels;
    product.n = s.window;
    product.k = s.group_out;
    product.a = {dy.data<T>() + group * s.group_out, s.out_channels, 1};
    product.b = {weight.data<T>() + group * s.group_out * s.window, s.window, 1};
    product.c = dx.data<T>() + group * s.window;
    product.ldc = s.channels;
    parallel_gemm(product);
  }
}

/// to [group_out, window] is written: the sums over all pixels of a group.
template <class T>
void weight_gradient(const ConvWindows<T>& w, const Sizes& s, const T* dy, T* to) {
  const ConvBlocks blocks(w);
  const int64_t size = s.group_out * s.window;
  // Behind the last picture there may be nothing to read.
  const int64_t run = w.neighbours() * w.channels;
  const bool in_place = w.within_pictures() && packed_columns(run) == run;
  BlockSums<T> sums(size, blocks.count());
  const auto sum_blocks = [&](int64_t begin, int64_t end, int64_t chunk) {
    const Reader<T> reader(w, blocks, in_place);
    const T** gradients = scratch<const T*>(kTargets, blocks.lines());
    const T** windows = scratch<const T*>(kSources, blocks.lines());
    for (int64_t i = begin; i < end; ++i) {
      const ConvBlock block = blocks[i];
      const ConvFrame<T> frame = reader.open(block);
      int64_t lines = 0;
      for (int64_t sample = block.samples.begin; sample < block.samples.end; ++sample) {
        for (int64_t row = block.rows.begin; row < block.rows.end; ++row, ++lines) {
          const int64_t pixel = (sample * s.out_height + row) * s.out_width + block.columns.begin;
          gradients[lines] = dy + pixel * s.out_channels;
          windows[lines] =
              frame.first + (sample - block.samples.begin) * frame.sample + (row - block.rows.begin) * frame.row;
        }
      }
      add_lines(LineProduct<T>{.a = gradients,
                               .b = windows,
                               .lines = lines,
                               .pixels = block.columns.size(),
                               .a_step = s.out_channels,
                               .b_step = frame.column,
                               .rows = s.group_out,
                               .runs = reader.runs(),
                               .c = sums.part(chunk)});
      sums.count(chunk, i - begin + 1);
    }
  };
  parallel_for(blocks.count(), grain_of(blocks.outputs() * size), sum_blocks);
  sums.write(to);
}

template <class T>
void backward_weight(const ConvSpec& spec, const Tensor& dy, const Tensor& x, Tensor& dweight) {
  const Sizes s(spec, x, dy);
  const int64_t size = s.group_out * s.window;
  for (int64_t group = 0; group < spec.groups; ++group) {
    const T* gradient = dy.data<T>() + group * s.group_out;
    T* to = dweight.data<T>() + group * size;
    if (!s.pointwise) {
      const ConvWindows<T> w = input_windows(spec, s, x.data<T>(), group);
      if (suits_winograd(w, s.group_out)) {
        weight_gradient_of_tiles<T>(w, {gradient, s.out_height, s.out_width, s.out_channels, s.group_out}, to);
      } else {
        weight_gradient(w, s, gradient, to);
      }
      continue;
    }
    Product<T> product;
    product.m = s.group_out;
    product.n = s.window;
    product.k = s.pixels;
    product.a = {gradient, 1, s.out_channels};
    product.b = {x.data<T>() + group * s.window, s.channels, 1};
    product.c = to;
    product.ldc = s.window;
    parallel_gemm(product);
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
