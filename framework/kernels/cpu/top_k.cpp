#include "framework/kernels/top_k.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/top_k.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/rows.h"
#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

template <class T>
double log_sum_exp_row(const T* x, int64_t n, double scale) {
  const hn::ScalableTag<T> d;
  const T largest = row_max(x, n);
  const auto top = hn::Set(d, largest);
  const auto factor = hn::Set(d, static_cast<T>(scale));
  auto total = hn::Zero(d);
  over_row<T>(n, [&](auto load, auto, auto valid)
                     HWY_ATTR { total = hn::Add(total, valid(Exp(d, hn::Mul(factor, hn::Sub(load(x), top))))); });
  return scale * static_cast<double>(largest) + std::log(static_cast<double>(lane_sum<T>(total)));
}

/// First j >= begin from where a block of elements begins of which one is above the bound, or NaN; where blocks end if
/// none is.
template <class T>
int64_t skip_below(const T* x, int64_t begin, int64_t n, T bound) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto limit = hn::Set(d, bound);
  int64_t j = begin;
  for (; j + 4 * lanes <= n; j += 4 * lanes) {
    const auto below = [&](int64_t at) HWY_ATTR { return hn::Le(hn::LoadU(d, x + at), limit); };  // which NaN is not
    const auto all = hn::And(hn::And(below(j), below(j + lanes)), hn::And(below(j + 2 * lanes), below(j + 3 * lanes)));
    if (!hn::AllTrue(d, all)) break;
  }
  return j;
}

double log_sum_exp_float(const float* x, int64_t n, double scale) { return log_sum_exp_row(x, n, scale); }
double log_sum_exp_double(const double* x, int64_t n, double scale) { return log_sum_exp_row(x, n, scale); }
int64_t skip_float(const float* x, int64_t begin, int64_t n, float bound) { return skip_below(x, begin, n, bound); }
int64_t skip_double(const double* x, int64_t begin, int64_t n, double bound) { return skip_below(x, begin, n, bound); }

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(log_sum_exp_float);
HWY_EXPORT(log_sum_exp_double);
HWY_EXPORT(skip_float);
HWY_EXPORT(skip_double);

namespace {

int64_t row_grain(int64_t width) { return std::max<int64_t>(1, 4096 / std::max<int64_t>(width, 1)); }

/// NaN is above everything.
template <class T>
bool above(T a, T b) {
  return a > b || (a != a && b == b);
}

template <class T>
struct Entry {
  T value;
  int64_t index;

  /// Larger, or the first of equals.
  friend bool operator<(const Entry& a, const Entry& b) {
    return above(a.value, b.value) || (!above(b.value, a.value) && a.index < b.index);
  }
};

// A heap of the best so far, the worst of them in front; most elements are not above it and are passed over in vectors.
template <class T>
void top_k_row(const T* x, int64_t n, std::vector<Entry<T>>& heap, T* values, int64_t* indices) {
  const auto k = std::ssize(heap);
  for (int64_t j = 0; j < k; ++j) heap[static_cast<size_t>(j)] = {x[j], j};
  std::make_heap(heap.begin(), heap.end());
  constexpr int64_t kLook = 64;  // elements behind a place where vectors found one
  for (int64_t j = k; j < n;) {
    if constexpr (sizeof(T) == 4) {
      j = HWY_DYNAMIC_DISPATCH(skip_float)(x, j, n, heap.front().value);
    } else {
      j = HWY_DYNAMIC_DISPATCH(skip_double)(x, j, n, heap.front().value);
    }
    for (const int64_t end = std::min(n, j + kLook); j < end; ++j) {
      if (!above(x[j], heap.front().value)) continue;
      std::pop_heap(heap.begin(), heap.end());
      heap.back() = {x[j], j};
      std::push_heap(heap.begin(), heap.end());
    }
  }
  std::sort_heap(heap.begin(), heap.end());
  for (const Entry<T>& entry : heap) {
    *values++ = entry.value;
    *indices++ = entry.index;
  }
}

}  // namespace

void top_k(const Tensor& x, Tensor& values, Tensor& indices) {
  const int64_t n = x.shape()[1];
  const int64_t k = values.shape()[1];
  if (k == 0) return;
  int64_t* index = indices.data<int64_t>();
  visit_floating(x.dtype(), "top_k", [&]<class T>(T) {
    const T* in = x.data<T>();
    T* out = values.data<T>();
    parallel_for(x.shape()[0], row_grain(n), [&](int64_t begin, int64_t end, int64_t) {
      std::vector<Entry<T>> heap(static_cast<size_t>(k));
      for (int64_t r = begin; r < end; ++r) top_k_row(in + r * n, n, heap, out + r * k, index + r * k);
    });
  });
}

void argsort(const Tensor& x, bool descending, Tensor& indices) {
  const int64_t n = x.shape()[1];
  auto* places = indices.data<int64_t>();
  const auto sort_rows = [&]<class T>(T) {
    parallel_for(x.shape()[0], row_grain(n), [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t r = begin; r < end; ++r) {
        const T* row = x.data<T>() + r * n;
        int64_t* index = places + r * n;
        std::iota(index, index + n, int64_t{0});
        std::stable_sort(index, index + n, [&](int64_t a, int64_t b) {
          return descending ? above(row[a], row[b]) : above(row[b], row[a]);
        });
      }
    });
  };
  if (x.dtype() == DType::kInt64) return sort_rows(int64_t{});
  visit_floating(x.dtype(), "argsort", sort_rows);
}

void log_sum_exp(const Tensor& x, double scale, Tensor& y) {
  const int64_t n = x.shape()[1];
  visit_floating(x.dtype(), "log_sum_exp", [&]<class T>(T) {
    const T* in = x.data<T>();
    visit_floating(y.dtype(), "log_sum_exp", [&]<class Out>(Out) {
      Out* out = y.data<Out>();
      parallel_for(x.shape()[0], row_grain(n), [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t r = begin; r < end; ++r) {
          if constexpr (sizeof(T) == 4) {
            out[r] = static_cast<Out>(HWY_DYNAMIC_DISPATCH(log_sum_exp_float)(in + r * n, n, scale));
          } else {
            out[r] = static_cast<Out>(HWY_DYNAMIC_DISPATCH(log_sum_exp_double)(in + r * n, n, scale));
          }
        }
      });
    });
  });
}

}  // namespace attune::cpu
#endif
