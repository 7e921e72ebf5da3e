#include "framework/kernels/fold.h"

#include <algorithm>
#include <type_traits>

#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/integer.h"

namespace attune::cpu {
namespace {

constexpr int64_t kGrain = 16384;

// f(T{}) for what is added up and multiplied.
template <class F>
void visit_numbers(DType dtype, const char* who, F&& f) {
  if (dtype == DType::kInt64) return f(int64_t{});
  visit_floating(dtype, who, f);
}

// What many elements of T are added up and multiplied in.
template <class T>
using Total = std::conditional_t<std::is_same_v<T, int64_t>, int64_t, double>;

double added(double a, double b) { return a + b; }
int64_t added(int64_t a, int64_t b) { return integers::add(a, b); }
double multiplied(double a, double b) { return a * b; }
int64_t multiplied(int64_t a, int64_t b) { return integers::mul(a, b); }

// y[o, i] = what step(total, x[o, j, i]) makes of `first` for all j.
template <class T, class Out = T, class Number, class Step>
void fold(const Tensor& x, Tensor& y, Number first, const Step& step) {
  const Tensor from = x.contiguous();
  const int64_t n = x.dim(1);
  const int64_t inner = x.dim(2);
  const T* data = from.data<T>();
  Out* out = y.data<Out>();
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, n));
  parallel_for(x.dim(0) * inner, grain, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t k = begin; k < end; ++k) {
      const T* column = data + k / inner * n * inner + k % inner;
      Number total = first;
      for (int64_t i = 0; i < n; ++i) step(total, column[i * inner]);
      out[k] = static_cast<Out>(total);
    }
  });
}

template <class T>
bool is_nan(T value) {
  return value != value;
}

// The first element before which no other comes by beats(it, other), or the first NaN, and where it is.
template <class Beats>
void find_extreme(const char* who, const Tensor& x, const Beats& beats, Tensor& y, Tensor& index) {
  const Tensor from = x.contiguous();
  const int64_t n = x.dim(1);
  const int64_t inner = x.dim(2);
  auto* where = index.data<int64_t>();
  visit_numbers(x.dtype(), who, [&]<class T>(T) {
    const T* data = from.data<T>();
    T* out = y.data<T>();
    const int64_t grain = std::max<int64_t>(1, kGrain / n);
    parallel_for(x.dim(0) * inner, grain, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t k = begin; k < end; ++k) {
        const T* column = data + k / inner * n * inner + k % inner;
        T best = column[0];
        int64_t at = 0;
        for (int64_t i = 1; i < n; ++i) {
          const T value = column[i * inner];
          if (beats(value, best) || (is_nan(value) && !is_nan(best))) {
            best = value;
            at = i;
          }
        }
        out[k] = best;
        where[k] = at;
      }
    });
  });
}

}  // namespace

void max(const Tensor& x, Tensor& y, Tensor& index) {
  find_extreme(
      "max", x, [](auto value, auto best) { return value > best; }, y, index);
}

void min(const Tensor& x, Tensor& y, Tensor& index) {
  find_extreme(
      "min", x, [](auto value, auto best) { return value < best; }, y, index);
}

void product(const Tensor& x, Tensor& y) {
  visit_numbers(x.dtype(), "product", [&]<class T>(T) {
    fold<T>(x, y, Total<T>{1}, [](Total<T>& total, T value) { total = multiplied(total, Total<T>(value)); });
  });
}

void sum_integers(const Tensor& x, Tensor& y) {
  const auto add = [](int64_t& total, auto value) { total = added(total, static_cast<int64_t>(value)); };
  if (x.dtype() == DType::kBool) return fold<bool, int64_t>(x, y, int64_t{0}, add);
  fold<int64_t>(x, y, int64_t{0}, add);
}

void cumulate(const Tensor& x, bool product, bool reverse, Tensor& y) {
  const Tensor from = x.contiguous();
  const int64_t n = x.dim(1);
  const int64_t inner = x.dim(2);
  visit_numbers(x.dtype(), "cumulate", [&]<class T>(T) {
    const T* data = from.data<T>();
    T* out = y.data<T>();
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, n));
    parallel_for(x.dim(0) * inner, grain, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t k = begin; k < end; ++k) {
        const int64_t column = k / inner * n * inner + k % inner;
        Total<T> total = product ? 1 : 0;
        for (int64_t i = 0; i < n; ++i) {
          const int64_t at = column + (reverse ? n - 1 - i : i) * inner;
          const auto value = static_cast<Total<T>>(data[at]);
          total = product ? multiplied(total, value) : added(total, value);
          out[at] = static_cast<T>(total);
        }
      }
    });
  });
}

}  // namespace attune::cpu
