#include "framework/kernels/cuda/columns.cuh"
#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/philox.cuh"
#include "framework/kernels/cuda/product.h"
#include "framework/kernels/functors.h"
#include "framework/kernels/linear.h"

namespace attune::cuda {
namespace {

template <class C>
__device__ C activate(Activation activation, C z) {
  switch (activation) {
    case Activation::kRelu:
      return functors::Relu().forward(z);
    case Activation::kGelu:
      return functors::Gelu().forward(z);
    case Activation::kGeluTanh:
      return functors::GeluTanh().forward(z);
    case Activation::kSilu:
      return functors::Silu().forward(z);
    case Activation::kTanh:
      return functors::Tanh().forward(z);
    case Activation::kSigmoid:
      return functors::Sigmoid().forward(z);
    default:
      return z;
  }
}

/// From z; relu's derivative is known from y.
template <class C>
__device__ C derivative(Activation activation, C z) {
  switch (activation) {
    case Activation::kGelu:
      return functors::Gelu().derivative(z);
    case Activation::kGeluTanh:
      return functors::GeluTanh().derivative(z);
    case Activation::kSilu:
      return functors::Silu().derivative(z);
    case Activation::kTanh:
      return functors::Tanh().derivative(functors::Tanh().forward(z));
    case Activation::kSigmoid:
      return functors::Sigmoid().derivative(functors::Sigmoid().forward(z));
    default:
      return C(1);
  }
}

/// y = dropout(activation(z + bias)), z + bias kept in z where that is not y.
template <class T>
__global__ void finish(T* z, const T* bias, Activation activation, Drop<Compute<T>> dropout, T* y, int64_t n,
                       int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  Compute<T> value = load(z[at]);
  if (bias != nullptr) {
    value += load(bias[at % n]);
    z[at] = store<T>(value);
  }
  y[at] = store<T>(dropout(activate(activation, value), at));
}

template <class T>
__global__ void backward(const T* dy, const T* z, const T* y, Activation activation, Drop<Compute<T>> dropout, T* dz,
                         int64_t count) {
  using C = Compute<T>;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const C gradient = load(dy[at]);
  if (activation == Activation::kRelu) {
    // y > 0 exactly where z > 0 and the element was kept: the mask need not be drawn again.
    dz[at] = store<T>(load(y[at]) > C(0) ? gradient * dropout.factor : C(0));
  } else {
    const C kept = dropout(gradient, at);
    dz[at] =
        store<T>(activation == Activation::kNone ? kept : functors::chain(kept, derivative(activation, load(z[at]))));
  }
}

/// A block for every part of the rows of 32 columns.
template <class T>
__global__ void sum_rows(const T* x, int64_t rows, int64_t n, int64_t tiles, int64_t parts, Compute<T>* out) {
  const int64_t part = blockIdx.x / tiles;
  const int64_t column = blockIdx.x % tiles * kColumns + threadIdx.x % kColumns;
  const auto sum = sum_of_column<Compute<T>>(rows * part / parts, rows * (part + 1) / parts, column < n,
                                             [&](int64_t row) { return load(x[row * n + column]); });
  if (threadIdx.x < kColumns && column < n) out[part * n + column] = sum;
}

}  // namespace

void linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation,
            const DropoutSpec& dropout, Tensor& z, Tensor& y) {
  if (y.numel() == 0) return;
  const Context& c = context(y);
  visit_stored(y.dtype(), "linear", [&]<class T>(T) {
    T* out = data<T>(y);
    Product p;
    p.dtype = y.dtype();
    p.n = weight.shape()[0];
    p.k = weight.shape()[1];
    p.m = y.numel() / p.n;
    p.a = {x.raw(), p.k, 1, 0};
    p.b = {weight.raw(), 1, p.k, 0};

    // In the product's epilogue, where cuBLASLt has one: the bias, and after it relu or the tanh approximation of gelu.
    Product fused = p;
    fused.bias = bias.raw();
    const bool keeps = z.defined() && p.n % 8 == 0 && aligned(z.raw());
    if ((activation == Activation::kRelu && !z.defined()) ||
        (activation == Activation::kGeluTanh && std::is_same_v<T, bfloat16> && (!z.defined() || keeps))) {
      fused.activation = activation;
      fused.z = z.defined() ? z.raw() : nullptr;
    }
    Activation left = fused.activation == Activation::kNone ? activation : Activation::kNone;
    T* product = z.defined() && fused.z == nullptr ? data<T>(z) : out;
    fused.c = product;
    const bool biased = bias.defined() && p.k > 0 && !std::is_same_v<T, double> && try_multiply(c, "linear", fused);
    if (!biased) {
      left = activation;
      product = z.defined() ? data<T>(z) : out;
      p.c = product;
      multiply(c, "linear", p);
    }
    const T* rest = biased ? nullptr : data<T>(bias);
    if (product == out && rest == nullptr && left == Activation::kNone && dropout.probability == 0) return;
    launch(c, "linear", finish<T>, thread_each(y.numel()), product, rest, left, Drop<Compute<T>>(c, dropout), out, p.n,
           y.numel());
  });
}

void linear_backward(const Tensor& dy, const Tensor& z, const Tensor& y, Activation activation,
                     const DropoutSpec& dropout, Tensor& dz, Tensor& dbias, bool accumulate) {
  const Context& c = context(dy);
  const int64_t n = dy.shape()[dy.rank() - 1];
  visit_stored(dy.dtype(), "linear", [&]<class T>(T) {
    using C = Compute<T>;
    if (dz.defined()) {
      launch(c, "linear", backward<T>, thread_each(dy.numel()), data<T>(dy), data<T>(z), data<T>(y), activation,
             Drop<C>(c, dropout), data<T>(dz), dy.numel());
    }
    if (!dbias.defined() || n == 0) return;
    const int64_t rows = dy.numel() / n;
    const int64_t tiles = ceil_div(n, kColumns);
    const int64_t parts = parts_of_rows(c, rows, tiles);
    const Scratch scratch(c, static_cast<size_t>(parts * n) * sizeof(C));
    C* out = scratch.data<C>();
    launch(c, "linear", sum_rows<T>, Grid{tiles * parts, 256}, dz.defined() ? data<T>(dz) : data<T>(dy), rows, n, tiles,
           parts, out);
    add_parts_to<T>(c, "linear", out, parts, n, n, accumulate, dbias);
  });
}

}  // namespace attune::cuda
