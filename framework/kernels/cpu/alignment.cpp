#include "framework/kernels/alignment.h"

#include <algorithm>

#include "framework/kernels/cpu/parallel.h"

namespace attune::cpu {
namespace {

constexpr int64_t kGrain = 4096;

/// f(T{}, row) for every row of p [rows, T, S].
template <class F>
void over_rows(const Tensor& p, F&& f) {
  const int64_t work = std::max<int64_t>(1, p.dim(1) * p.dim(2));
  visit_floating(p.dtype(), "monotonic_alignment", [&]<class T>(T) {
    parallel_for(p.dim(0), std::max<int64_t>(1, kGrain / work), [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t row = begin; row < end; ++row) f(T{}, row);
    });
  });
}

template <class T>
const T* at_row(const Tensor& x, int64_t row, int64_t elements) {
  return x.defined() ? x.data<T>() + row * elements : nullptr;
}

bool any(const bool* keep, int64_t n) { return std::find(keep, keep + n, true) != keep + n; }

/// One query, in front of which the walk stands at the keys with probabilities `before`.
template <class T>
void forward(const T* p, const bool* keep, const T* before, int64_t keys, T* y) {
  T arrived = 0;
  for (int64_t s = 0; s < keys; ++s) {
    arrived += before[s];
    const T stop = keep[s] ? p[s] : T{0};
    y[s] = stop * arrived;
    arrived *= 1 - stop;
  }
}

/// dbefore holds the gradient of y besides dy on entry, that of `before` on return. arrived: memory for [keys].
template <class T>
void backward(const T* p, const bool* keep, const T* before, const T* dy, int64_t keys, T* arrived, T* dbefore, T* dp) {
  T walk = 0;
  for (int64_t s = 0; s < keys; ++s) {
    walk += before[s];
    arrived[s] = walk;
    if (keep[s]) walk *= 1 - p[s];
  }
  T dwalk = 0;  // gradient of what leaves key s
  for (int64_t s = keys - 1; s >= 0; --s) {
    dp[s] = 0;
    if (keep[s]) {
      // y = p arrived, left = (1 - p) arrived
      const T gradient = dbefore[s] + (dy == nullptr ? T{0} : dy[s]);
      dp[s] = arrived[s] * (gradient - dwalk);
      dwalk = p[s] * gradient + (1 - p[s]) * dwalk;
    }
    dbefore[s] = dwalk;
  }
}

}  // namespace

void monotonic_alignment(const Tensor& p, const Tensor& previous, const Tensor& keep, Tensor& y, Tensor& last) {
  const int64_t queries = p.dim(1), keys = p.dim(2);
  over_rows(p, [&]<class T>(T, int64_t row) {
    const T* before = at_row<T>(previous, row, keys);
    for (int64_t t = 0; t < queries; ++t) {
      const int64_t at = (row * queries + t) * keys;
      T* out = y.data<T>() + at;
      if (!any(keep.data<bool>() + at, keys)) {
        std::fill(out, out + keys, T{0});
        continue;
      }
      forward(p.data<T>() + at, keep.data<bool>() + at, before, keys, out);
      before = out;
    }
    std::copy(before, before + keys, last.data<T>() + row * keys);
  });
}

void monotonic_alignment_backward(const Tensor& p, const Tensor& previous, const Tensor& keep, const Tensor& y,
                                  const Tensor& dy, const Tensor& dlast, Tensor& dp, Tensor& dprevious) {
  const int64_t queries = p.dim(1), keys = p.dim(2);
  over_rows(p, [&]<class T>(T, int64_t row) {
    T* carried = dprevious.data<T>() + row * keys;
    const T* end = at_row<T>(dlast, row, keys);
    if (end == nullptr) {
      std::fill(carried, carried + keys, T{0});
    } else {
      std::copy(end, end + keys, carried);
    }
    const bool* kept = at_row<bool>(keep, row, queries * keys);
    const T* gradients = at_row<T>(dy, row, queries * keys);
    int64_t t = queries - 1;
    const auto skip = [&] {  // queries without a key
      for (; t >= 0 && !any(kept + t * keys, keys); --t) {
        T* out = dp.data<T>() + (row * queries + t) * keys;
        std::fill(out, out + keys, T{0});
      }
    };
    for (skip(); t >= 0;) {
      const int64_t at = t * keys;
      --t;
      skip();
      const T* before = t < 0 ? at_row<T>(previous, row, keys) : at_row<T>(y, row, queries * keys) + t * keys;
      backward(at_row<T>(p, row, queries * keys) + at, kept + at, before,
               gradients == nullptr ? nullptr : gradients + at, keys, scratch<T>(0, keys), carried,
               dp.data<T>() + row * queries * keys + at);
    }
  });
}

}  // namespace attune::cpu
