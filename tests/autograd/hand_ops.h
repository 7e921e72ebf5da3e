#pragma once

// Ops recorded by hand, so that the tests of the tape depend on nothing but the tape. All contiguous; not for speed.

#include <cmath>

#include "autograd/tape.h"
#include "framework/dtype.h"

namespace attune::testing {

template <class F>
Tensor map(const Tensor& x, F f) {
  const Tensor from = x.contiguous();
  Tensor y = Tensor::empty_like(x);
  visit_floating(x.dtype(), "map", [&]<class T>(T) {
    for (int64_t i = 0; i < y.numel(); ++i) y.data<T>()[i] = static_cast<T>(f(from.data<T>()[i]));
  });
  return y;
}

template <class F>
Tensor map(const Tensor& a, const Tensor& b, F f) {
  const Tensor from_a = a.contiguous();
  const Tensor from_b = b.contiguous();
  Tensor y = Tensor::empty_like(a);
  visit_floating(a.dtype(), "map", [&]<class T>(T) {
    for (int64_t i = 0; i < y.numel(); ++i)
      y.data<T>()[i] = static_cast<T>(f(from_a.data<T>()[i], from_b.data<T>()[i]));
  });
  return y;
}

/// a * b, equal shapes.
inline Variable hand_mul(const Variable& a, const Variable& b) {
  const auto product = [](double x, double y) { return x * y; };
  return Tape::current().record("hand_mul", map(a.value(), b.value(), product), {&a, &b},
                                [a = SavedTensor(a.value()), b = SavedTensor(b.value()), product](Grads& grads) {
                                  if (grads.needs(0)) grads.add(0, map(grads.dy(), b.get(), product));
                                  if (grads.needs(1)) grads.add(1, map(grads.dy(), a.get(), product));
                                });
}

/// x * factor
inline Variable hand_scale(const Variable& x, double factor) {
  const auto scale = [factor](double v) { return v * factor; };
  return Tape::current().record("hand_scale", map(x.value(), scale), {&x},
                                [scale](Grads& grads) { grads.add(0, map(grads.dy(), scale)); });
}

inline Variable hand_sin(const Variable& x) {
  return Tape::current().record("hand_sin", map(x.value(), [](double v) { return std::sin(v); }), {&x},
                                [x = SavedTensor(x.value())](Grads& grads) {
                                  grads.add(
                                      0, map(grads.dy(), x.get(), [](double g, double v) { return g * std::cos(v); }));
                                });
}

/// Sum over all elements -> scalar; writes its gradient where the tape says.
inline Variable hand_sum(const Variable& x) {
  double total = 0;
  for (const double v : x.value().to(DType::kFloat64).to_vector<double>()) total += v;
  return Tape::current().record("hand_sum", Tensor::full({}, total, x.dtype()), {&x}, [](Grads& grads) {
    const double dy = grads.dy().item();
    GradTarget dx = grads.target(0);
    visit_floating(dx.tensor.dtype(), "hand_sum", [&]<class T>(T) {
      T* out = dx.tensor.data<T>();
      for (int64_t i = 0; i < dx.tensor.numel(); ++i) out[i] = static_cast<T>(dx.accumulate ? out[i] + dy : dy);
    });
  });
}

/// Row `index` of x [n, D] -> [D]; its gradient is scattered into zeros, as an embedding's is.
inline Variable hand_row(const Variable& x, int64_t index) {
  return Tape::current().record("hand_row", x.value().select(0, index).clone(), {&x}, [index](Grads& grads) {
    Tensor dx = grads.accumulator(0).select(0, index);
    const Tensor dy = grads.dy();
    visit_floating(dx.dtype(), "hand_row", [&]<class T>(T) {
      for (int64_t i = 0; i < dx.numel(); ++i) dx.data<T>()[i] += dy.data<T>()[i];
    });
  });
}

}  // namespace attune::testing
