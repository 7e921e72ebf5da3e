#include "framework/kernels/linear.h"

#include <cmath>
#include <optional>
#include <utility>

#include "framework/kernels/cpu/column_sums.h"
#include "framework/kernels/cpu/gemm.h"
#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/linear.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/philox.h"
#include "framework/kernels/cpu/rows.h"
#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

constexpr double kInvSqrt2 = 0.70710678118654752440;
constexpr double kInvSqrt2Pi = 0.39894228040143267794;
constexpr double kSqrt2OverPi = 0.79788456080286535588;
constexpr double kCubic = 0.044715;
constexpr double kSaturated = 100;

template <Activation A, class D, class V = hn::Vec<D>>
HWY_INLINE V activate(D d, V z) {
  using T = hn::TFromD<D>;
  const auto c = [d](double value) HWY_ATTR { return hn::Set(d, static_cast<T>(value)); };
  if constexpr (A == Activation::kRelu) {
    return hn::Max(z, hn::Zero(d));
  } else if constexpr (A == Activation::kGelu) {
    return hn::Mul(hn::Mul(z, c(0.5)), hn::Add(c(1), Erf(d, hn::Mul(z, c(kInvSqrt2)))));
  } else if constexpr (A == Activation::kGeluTanh) {
    // (1 + tanh(u)) / 2 = sigmoid(2u), u = sqrt(2 / pi) (z + 0.044715 z^3)
    const V u = hn::Mul(hn::MulAdd(hn::Mul(hn::Mul(z, z), z), c(kCubic), z), c(2 * kSqrt2OverPi));
    return hn::Mul(z, Sigmoid(d, u));
  } else if constexpr (A == Activation::kSilu) {
    return hn::Mul(z, Sigmoid(d, z));
  } else if constexpr (A == Activation::kTanh) {
    return Tanh(d, z);
  } else if constexpr (A == Activation::kSigmoid) {
    return Sigmoid(d, z);
  } else {
    return z;
  }
}

template <Activation A, class D, class V = hn::Vec<D>>
HWY_INLINE V derivative(D d, V z) {
  using T = hn::TFromD<D>;
  const auto c = [d](double value) HWY_ATTR { return hn::Set(d, static_cast<T>(value)); };
  if constexpr (A == Activation::kGelu) {
    // Phi(z) + z phi(z)
    const V phi = hn::Mul(Exp(d, hn::Mul(hn::Mul(z, z), c(-0.5))), c(kInvSqrt2Pi));
    const V cumulative = hn::Mul(c(0.5), hn::Add(c(1), Erf(d, hn::Mul(z, c(kInvSqrt2)))));
    return hn::MulAdd(z, phi, cumulative);
  } else if constexpr (A == Activation::kGeluTanh) {
    // s + z s (1 - s) 2 u', u' = sqrt(2 / pi) (1 + 3 * 0.044715 z^2)
    const V square = hn::Mul(z, z);
    const V u = hn::Mul(hn::MulAdd(hn::Mul(square, z), c(kCubic), z), c(2 * kSqrt2OverPi));
    const V s = Sigmoid(d, u);
    const V slope = hn::Mul(hn::MulAdd(square, c(3 * kCubic), c(1)), c(2 * kSqrt2OverPi));
    const V slope_of_product = hn::MulAdd(hn::Mul(z, slope), hn::Mul(s, hn::Sub(c(1), s)), s);
    // s is exactly 0 or 1 long before the bound, and behind it z^2 overflows. NaN stays.
    return hn::IfThenElse(hn::Gt(hn::Abs(z), c(kSaturated)), s, slope_of_product);
  } else if constexpr (A == Activation::kSilu) {
    const V s = Sigmoid(d, z);
    return hn::MulAdd(hn::Mul(z, s), hn::Sub(c(1), s), s);
  } else if constexpr (A == Activation::kTanh) {
    const V y = Tanh(d, z);
    return hn::NegMulAdd(y, y, c(1));
  } else {
    const V y = Sigmoid(d, z);
    return hn::Mul(y, hn::Sub(c(1), y));
  }
}

// y = dropout(activation(z)) for elements at ... at + n - 1.
template <class T>
void finish_range(const T* z, T* y, Activation activation, const DropoutSpec& dropout, int64_t at, int64_t n) {
  const hn::ScalableTag<T> d;
  const auto apply = [&]<Activation A>(std::integral_constant<Activation, A>) HWY_ATTR {
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR { store(activate<A>(d, load(z + at)), y + at); });
  };
  switch (activation) {
    case Activation::kGelu:
      apply(std::integral_constant<Activation, Activation::kGelu>());
      break;
    case Activation::kGeluTanh:
      apply(std::integral_constant<Activation, Activation::kGeluTanh>());
      break;
    case Activation::kSilu:
      apply(std::integral_constant<Activation, Activation::kSilu>());
      break;
    case Activation::kTanh:
      apply(std::integral_constant<Activation, Activation::kTanh>());
      break;
    case Activation::kSigmoid:
      apply(std::integral_constant<Activation, Activation::kSigmoid>());
      break;
    default:  // none, or relu, which the product applies itself
      break;
  }
  if (dropout.probability > 0) {
    DropoutRange(dropout.state, DropoutScale(dropout.probability), at, n, y + at, y + at);
  }
}

template <class T>
void backward_range(const T* dy, const T* z, const T* y, T* dz, Activation activation, const DropoutSpec& dropout,
                    int64_t at, int64_t n) {
  const hn::ScalableTag<T> d;
  if (activation == Activation::kRelu) {
    // y > 0 exactly where z > 0 and the element was kept: the mask need not be drawn again.
    const auto scale = hn::Set(d, static_cast<T>(1 / (1 - dropout.probability)));
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
      store(hn::IfThenElseZero(hn::Gt(load(y + at), hn::Zero(d)), hn::Mul(load(dy + at), scale)), dz + at);
    });
    return;
  }
  if (dropout.probability > 0) {
    DropoutRange(dropout.state, DropoutScale(dropout.probability), at, n, dy + at, dz + at);
    dy = dz;
  }
  const auto apply = [&]<Activation A>(std::integral_constant<Activation, A>) HWY_ATTR {
    over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
      // An exact zero stays one, whatever z holds there.
      const auto gradient = load(dy + at);
      const auto product = hn::Mul(gradient, derivative<A>(d, load(z + at)));
      store(hn::IfThenZeroElse(hn::Eq(gradient, hn::Zero(d)), product), dz + at);
    });
  };
  switch (activation) {
    case Activation::kGelu:
      return apply(std::integral_constant<Activation, Activation::kGelu>());
    case Activation::kGeluTanh:
      return apply(std::integral_constant<Activation, Activation::kGeluTanh>());
    case Activation::kSilu:
      return apply(std::integral_constant<Activation, Activation::kSilu>());
    case Activation::kTanh:
      return apply(std::integral_constant<Activation, Activation::kTanh>());
    case Activation::kSigmoid:
      return apply(std::integral_constant<Activation, Activation::kSigmoid>());
    default:
      return;
  }
}

template <class T>
void add_row(const T* x, T* sums, int64_t n) {
  over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR { store(hn::Add(load(x), load(sums)), sums); });
}

void finish_float(const float* z, float* y, Activation a, const DropoutSpec& s, int64_t at, int64_t n) {
  finish_range(z, y, a, s, at, n);
}
void finish_double(const double* z, double* y, Activation a, const DropoutSpec& s, int64_t at, int64_t n) {
  finish_range(z, y, a, s, at, n);
}
void backward_float(const float* dy, const float* z, const float* y, float* dz, Activation a, const DropoutSpec& s,
                    int64_t at, int64_t n) {
  backward_range(dy, z, y, dz, a, s, at, n);
}
void backward_double(const double* dy, const double* z, const double* y, double* dz, Activation a, const DropoutSpec& s,
                     int64_t at, int64_t n) {
  backward_range(dy, z, y, dz, a, s, at, n);
}
void add_row_float(const float* x, float* sums, int64_t n) { add_row(x, sums, n); }
void add_row_double(const double* x, double* sums, int64_t n) { add_row(x, sums, n); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(finish_float);
HWY_EXPORT(finish_double);
HWY_EXPORT(backward_float);
HWY_EXPORT(backward_double);
HWY_EXPORT(add_row_float);
HWY_EXPORT(add_row_double);

namespace {

template <class T>
void finish(const T* z, T* y, Activation activation, const DropoutSpec& dropout, int64_t at, int64_t n) {
  if constexpr (sizeof(T) == 4) {
    HWY_DYNAMIC_DISPATCH(finish_float)(z, y, activation, dropout, at, n);
  } else {
    HWY_DYNAMIC_DISPATCH(finish_double)(z, y, activation, dropout, at, n);
  }
}

template <class T>
void backward(const T* dy, const T* z, const T* y, T* dz, Activation activation, const DropoutSpec& dropout, int64_t at,
              int64_t n) {
  if constexpr (sizeof(T) == 4) {
    HWY_DYNAMIC_DISPATCH(backward_float)(dy, z, y, dz, activation, dropout, at, n);
  } else {
    HWY_DYNAMIC_DISPATCH(backward_double)(dy, z, y, dz, activation, dropout, at, n);
  }
}

template <class T>
void add_to(const T* x, T* sums, int64_t n) {
  if constexpr (sizeof(T) == 4) {
    HWY_DYNAMIC_DISPATCH(add_row_float)(x, sums, n);
  } else {
    HWY_DYNAMIC_DISPATCH(add_row_double)(x, sums, n);
  }
}

}  // namespace

void linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation,
            const DropoutSpec& dropout, Tensor& z, Tensor& y) {
  if (y.numel() == 0) return;
  visit_floating(y.dtype(), "linear", [&]<class T>(T) {
    const int64_t n = weight.shape()[0];
    const int64_t k = weight.shape()[1];
    struct Finish {
      const T* z;
      T* y;
      Activation activation;
      const DropoutSpec* dropout;
      int64_t n;
    } context{z.defined() ? z.data<T>() : y.data<T>(), y.data<T>(), activation, &dropout, n};
    Product<T> product;
    product.m = y.numel() / n;
    product.n = n;
    product.k = k;
    product.a = {x.data<T>(), k, 1};
    product.b = {weight.data<T>(), 1, k};
    product.c = z.defined() ? z.data<T>() : y.data<T>();
    product.ldc = n;
    product.bias = bias.defined() ? bias.data<T>() : nullptr;
    product.relu = activation == Activation::kRelu;
    if (dropout.probability > 0 || (activation != Activation::kNone && activation != Activation::kRelu)) {
      product.epilogue = {[](void* raw, int64_t begin, int64_t end) {
                            const auto& f = *static_cast<Finish*>(raw);
                            finish(f.z, f.y, f.activation, *f.dropout, begin * f.n, (end - begin) * f.n);
                          },
                          &context};
    }
    parallel_gemm(product);
  });
}

void linear_backward(const Tensor& dy, const Tensor& z, const Tensor& y, Activation activation,
                     const DropoutSpec& dropout, Tensor& dz, Tensor& dbias, bool accumulate) {
  if (dy.numel() == 0) {
    if (dbias.defined() && !accumulate) dbias.zero_();
    return;
  }
  visit_floating(dy.dtype(), "linear", [&]<class T>(T) {
    const int64_t n = dy.shape()[dy.rank() - 1];
    const int64_t rows = dy.numel() / n;
    const T* from = dy.data<T>();
    const T* zs = z.defined() ? z.data<T>() : nullptr;
    const T* ys = y.defined() ? y.data<T>() : nullptr;
    T* to = dz.defined() ? dz.data<T>() : nullptr;
    // Every thread sums its rows; the shares are added in order.
    std::optional<SharedColumnSums<T>> sums;
    if (dbias.defined()) sums.emplace(rows, n);
    parallel_for(rows, std::max<int64_t>(1, 8192 / n), [&](int64_t begin, int64_t end, int64_t chunk) {
      ColumnSums<T> own;
      if (sums) own = sums->share(chunk);
      constexpr int64_t kRows = 16;  // a few rows at a time, so that the sums read them from cache
      for (int64_t r = begin; r < end; r += kRows) {
        const int64_t stop = std::min(end, r + kRows);
        if (to != nullptr) backward(from, zs, ys, to, activation, dropout, r * n, (stop - r) * n);
        if (!sums) continue;
        const T* gradient = to != nullptr ? to : from;
        for (int64_t i = r; i < stop; ++i) add_to(gradient + i * n, own.part, n);
        own.add_rows(stop - r);
      }
    });
    if (sums) sums->write(0, n, accumulate, dbias.data<T>());
  });
}

}  // namespace attune::cpu
#endif
