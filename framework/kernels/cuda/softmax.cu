#include "framework/kernels/cuda/softmax.cuh"
#include "framework/kernels/softmax.h"

namespace attune::cuda {
namespace {

/// y = softmax(x), or its log when kLog. keep: null, or which elements take part, except for those of
/// -infinity.
template <class Team, bool kLog, class T>
__global__ void forward_rows(const T* x, const bool* keep, T* y, int64_t rows, int64_t n) {
  using C = Compute<T>;
  const int64_t row = Team::row();
  if (row >= rows) return;
  x += row * n;
  y += row * n;
  if (keep != nullptr) keep += row * n;
  const auto counts = [&](int64_t j) { return keep == nullptr || (keep[j] && load(x[j]) != minus_infinity<C>()); };
  LogSum<C> part;
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
    if (counts(j)) part.add(load(x[j]));
  }
  const LogSum<C> all = Team::all(part, LogSum<C>::merged);
  const C log_sum = kLog ? all.log_sum() : C(0);
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
    if (kLog) {
      y[j] = store<T>(load(x[j]) - all.largest - log_sum);
    } else {
      y[j] = store<T>(counts(j) ? exp(load(x[j]) - all.largest) / all.sum : C(0));
    }
  }
}

/// dx = y (dy - sum(y dy)), or dy - exp(y) sum(dy) when kLog.
template <class Team, bool kLog, class T>
__global__ void backward_rows(const T* y, const T* dy, T* dx, int64_t rows, int64_t n) {
  using C = Compute<T>;
  const int64_t row = Team::row();
  if (row >= rows) return;
  y += row * n;
  dy += row * n;
  dx += row * n;
  C part = 0;
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
    const C out = load(y[j]);
    part += kLog ? load(dy[j]) : out == C(0) ? C(0) : out * load(dy[j]);
  }
  const C sum = Team::sum(part);
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
    const C out = load(y[j]);
    const C gradient = load(dy[j]);
    if (kLog) {
      dx[j] = store<T>(gradient - exp(out) * sum);
    } else {
      dx[j] = store<T>(out == C(0) ? C(0) : out * (gradient - sum));
    }
  }
}

template <bool kLog>
void forward(const char* who, const Tensor& x, const bool* keep, Tensor& y) {
  if (x.numel() == 0) return;
  const int64_t n = x.shape()[x.rank() - 1];
  const int64_t rows = x.numel() / n;
  visit_stored(x.dtype(), who, [&]<class T>(T) {
    visit_team(rows, n, [&]<class Team>(Team, const Grid& grid) {
      launch(context(y), who, forward_rows<Team, kLog, T>, grid, data<T>(x), keep, data<T>(y), rows, n);
    });
  });
}

template <bool kLog>
void backward(const char* who, const Tensor& y, const Tensor& dy, Tensor& dx) {
  if (y.numel() == 0) return;
  const int64_t n = y.shape()[y.rank() - 1];
  const int64_t rows = y.numel() / n;
  visit_stored(y.dtype(), who, [&]<class T>(T) {
    visit_team(rows, n, [&]<class Team>(Team, const Grid& grid) {
      launch(context(dx), who, backward_rows<Team, kLog, T>, grid, data<T>(y), data<T>(dy), data<T>(dx), rows, n);
    });
  });
}

}  // namespace

void softmax(const Tensor& x, Tensor& y) { forward<false>("softmax", x, nullptr, y); }
void masked_softmax(const Tensor& x, const Tensor& keep, Tensor& y) {
  forward<false>("masked_softmax", x, data<bool>(keep), y);
}
void softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) { backward<false>("softmax", y, dy, dx); }
void log_softmax(const Tensor& x, Tensor& y) { forward<true>("log_softmax", x, nullptr, y); }
void log_softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) { backward<true>("log_softmax", y, dy, dx); }

}  // namespace attune::cuda
