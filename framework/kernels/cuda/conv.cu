#include <algorithm>

#include "framework/kernels/conv.h"
#include "framework/kernels/cuda/conv_cudnn.h"
#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/product.h"

namespace attune::cuda {
namespace {

// What cuDNN does not do (conv_cudnn.h): windows are unfolded into rows of memory, some pictures at a time, and
// multiplied by the weights in cuBLASLt.

struct Axis {
  int64_t in, out, size, stride, padding, dilation;
};

/// Pictures [H, W, C] and their outputs [OH, OW, O], channels of one group; a window is a row of `width` elements.
struct Windows {
  Axis height, columns;
  int64_t channels, first_channel, group_channels;

  __host__ __device__ int64_t pixels() const { return height.out * columns.out; }
  __host__ __device__ int64_t width() const { return height.size * columns.size * group_channels; }
};

/// A thread for every element of the windows.
template <class T>
__global__ void unfold(const T* x, Windows p, T* windows, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t c = at % p.group_channels;
  const int64_t j = at / p.group_channels % p.columns.size;
  const int64_t i = at / p.group_channels / p.columns.size % p.height.size;
  const int64_t pixel = at / p.width();
  const int64_t row = pixel / p.columns.out % p.height.out * p.height.stride - p.height.padding + i * p.height.dilation;
  const int64_t column = pixel % p.columns.out * p.columns.stride - p.columns.padding + j * p.columns.dilation;
  const bool inside = row >= 0 && row < p.height.in && column >= 0 && column < p.columns.in;
  const int64_t picture = pixel / p.pixels();
  windows[at] = inside ? x[((picture * p.height.in + row) * p.columns.in + column) * p.channels + p.first_channel + c]
                       : store<T>(Compute<T>(0));
}

/// The output position whose window has `at` as its element `k` along an axis, -1 where there is none.
__device__ int64_t position(const Axis& a, int64_t at, int64_t k) {
  const int64_t first = at + a.padding - k * a.dilation;
  if (first < 0 || first % a.stride != 0) return -1;
  return first / a.stride < a.out ? first / a.stride : -1;
}

/// dx = the sum of the windows' elements that were taken from there. A thread for every element of the group.
template <class T>
__global__ void fold(const T* windows, Windows p, T* dx, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t c = at % p.group_channels;
  const int64_t column = at / p.group_channels % p.columns.in;
  const int64_t row = at / p.group_channels / p.columns.in % p.height.in;
  const int64_t picture = at / p.group_channels / p.columns.in / p.height.in;
  Compute<T> sum = 0;
  for (int64_t i = 0; i < p.height.size; ++i) {
    const int64_t y = position(p.height, row, i);
    if (y < 0) continue;
    for (int64_t j = 0; j < p.columns.size; ++j) {
      const int64_t x = position(p.columns, column, j);
      if (x < 0) continue;
      const int64_t pixel = (picture * p.height.out + y) * p.columns.out + x;
      sum += load(windows[pixel * p.width() + (i * p.columns.size + j) * p.group_channels + c]);
    }
  }
  dx[((picture * p.height.in + row) * p.columns.in + column) * p.channels + p.first_channel + c] = store<T>(sum);
}

template <class T>
__global__ void add_bias(const T* bias, T* y, int64_t n, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at < count) y[at] = store<T>(load(y[at]) + load(bias[at % n]));
}

/// f(windows of group g, g, first picture, pictures) for all groups and as many pictures at a time as fit.
template <class F>
void for_pictures(const ConvSpec& spec, const Tensor& x, const Tensor& y, size_t element, F&& f) {
  constexpr size_t kMost = size_t{256} << 20;  // bytes of windows
  const auto axis = [](const ConvAxis& a, int64_t in, int64_t out) {
    return Axis{in, out, a.size, a.stride, a.padding, a.dilation};
  };
  const int64_t group_channels = x.dim(3) / spec.groups;
  Windows w{axis(spec.height, x.dim(1), y.dim(1)), axis(spec.width, x.dim(2), y.dim(2)), x.dim(3), 0, group_channels};
  const size_t picture = static_cast<size_t>(std::max<int64_t>(1, w.pixels() * w.width())) * element;
  const auto many = static_cast<int64_t>(std::max<size_t>(1, kMost / picture));
  for (int64_t begin = 0; begin < x.dim(0); begin += many) {
    for (int64_t g = 0; g < spec.groups; ++g) {
      w.first_channel = g * group_channels;
      f(w, g, begin, std::min(many, x.dim(0) - begin));
    }
  }
}

/// The windows of some pictures of x as rows of memory.
template <class T>
Scratch unfolded(const Context& c, const Tensor& x, const Windows& w, int64_t begin, int64_t many) {
  const int64_t count = many * w.pixels() * w.width();
  Scratch windows(c, static_cast<size_t>(count) * sizeof(T));
  const T* pictures = data<T>(x) + begin * w.height.in * w.columns.in * w.channels;
  launch(c, "conv2d", unfold<T>, thread_each(count), pictures, w, windows.data<T>(), count);
  return windows;
}

/// y = windows of x times the weights.
template <class T>
void multiply_windows(const Context& c, const ConvSpec& spec, const Tensor& x, const Tensor& weight, Tensor& y) {
  const int64_t outputs = y.dim(3);
  const int64_t own = outputs / spec.groups;
  for_pictures(spec, x, y, sizeof(T), [&](const Windows& w, int64_t g, int64_t begin, int64_t many) {
    const Scratch windows = unfolded<T>(c, x, w, begin, many);
    // y = windows weight^T
    Product p;
    p.dtype = y.dtype();
    p.m = many * w.pixels();
    p.n = own;
    p.k = w.width();
    p.a = {windows.data<T>(), p.k, 1, 0};
    p.b = {data<T>(weight) + g * own * p.k, 1, p.k, 0};
    p.c = data<T>(y) + begin * w.pixels() * outputs + g * own;
    p.c_rows = outputs;
    multiply(c, "conv2d", p);
  });
}

}  // namespace

void conv2d(const ConvSpec& spec, const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y) {
  if (y.numel() == 0) return;
  const Context& c = context(y);
  visit_stored(y.dtype(), "conv2d", [&]<class T>(T) {
    if (!conv_in_cudnn(c, ConvPass::kForward, spec, x, weight, y)) multiply_windows<T>(c, spec, x, weight, y);
    if (!bias.defined()) return;
    launch(c, "conv2d", add_bias<T>, thread_each(y.numel()), data<T>(bias), data<T>(y), y.dim(3), y.numel());
  });
}

void conv2d_backward_input(const ConvSpec& spec, const Tensor& dy, const Tensor& weight, Tensor& dx) {
  if (dx.numel() == 0) return;
  const Context& c = context(dx);
  if (conv_in_cudnn(c, ConvPass::kInput, spec, dx, weight, dy)) return;
  visit_stored(dx.dtype(), "conv2d", [&]<class T>(T) {
    const int64_t outputs = dy.dim(3);
    const int64_t own = outputs / spec.groups;
    for_pictures(spec, dx, dy, sizeof(T), [&](const Windows& w, int64_t g, int64_t begin, int64_t many) {
      const int64_t rows = many * w.pixels();
      const Scratch scratch(c, static_cast<size_t>(rows * w.width()) * sizeof(T));
      if (rows > 0) {
        // dwindows = dy weight
        Product p;
        p.dtype = dx.dtype();
        p.m = rows;
        p.n = w.width();
        p.k = own;
        p.a = {data<T>(dy) + begin * w.pixels() * outputs + g * own, outputs, 1, 0};
        p.b = {data<T>(weight) + g * own * p.n, p.n, 1, 0};
        p.c = scratch.data<T>();
        multiply(c, "conv2d", p);
      }
      const int64_t count = many * w.height.in * w.columns.in * w.group_channels;
      T* pictures = data<T>(dx) + begin * w.height.in * w.columns.in * w.channels;
      launch(c, "conv2d", fold<T>, thread_each(count), scratch.data<T>(), w, pictures, count);
    });
  });
}

void conv2d_backward_weight(const ConvSpec& spec, const Tensor& dy, const Tensor& x, Tensor& dweight) {
  if (dweight.numel() == 0) return;
  const Context& c = context(dweight);
  if (conv_in_cudnn(c, ConvPass::kWeight, spec, x, dweight, dy)) return;
  visit_stored(dweight.dtype(), "conv2d", [&]<class T>(T) {
    const int64_t outputs = dy.dim(3);
    const int64_t own = outputs / spec.groups;
    if (dy.numel() == 0) {
      ATTUNE_CUDA(cudaMemsetAsync(dweight.raw(), 0, static_cast<size_t>(dweight.numel()) * sizeof(T), c.stream));
      return;
    }
    for_pictures(spec, x, dy, sizeof(T), [&](const Windows& w, int64_t g, int64_t begin, int64_t many) {
      const Scratch windows = unfolded<T>(c, x, w, begin, many);
      // dweight = dy^T windows
      Product p;
      p.dtype = dweight.dtype();
      p.m = own;
      p.n = w.width();
      p.k = many * w.pixels();
      p.a = {data<T>(dy) + begin * w.pixels() * outputs + g * own, 1, outputs, 0};
      p.b = {windows.data<T>(), p.n, 1, 0};
      p.c = data<T>(dweight) + g * own * p.n;
      p.accumulate = begin > 0;
      multiply(c, "conv2d", p);
    });
  });
}

}  // namespace attune::cuda
