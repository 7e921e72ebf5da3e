#include "framework/kernels/cuda/softmax.cuh"
#include "framework/kernels/loss.h"

namespace attune::cuda {
namespace {

/// Losses and log sums are float32 beside bfloat16 logits.
template <class Team, class T, class C>
__global__ void forward_rows(const T* logits, const int64_t* targets, CrossEntropySpec spec, C* loss, C* lse,
                             int64_t rows, int64_t n) {
  const int64_t row = Team::row();
  if (row >= rows) return;
  const int64_t target = targets[row];
  if (target == spec.ignore_index) {
    if (Team::rank() == 0) loss[row] = lse[row] = 0;
    return;
  }
  const T* x = logits + row * n;
  LogSum<C> part;
  C plain = 0;
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
    const C value = load(x[j]);
    part.add(value);
    plain += value;
  }
  const LogSum<C> all = Team::all(part, LogSum<C>::merged);
  const C sum = Team::sum(plain);
  if (Team::rank() != 0) return;
  // -sum q log p = lse - (1 - e) x_target - e mean(x)
  const C e = static_cast<C>(spec.smoothing);
  const C total = all.log_sum();
  loss[row] = total - (1 - e) * load(x[target]) - (e > 0 ? e * (sum / static_cast<C>(n)) : C(0));
  lse[row] = total;
}

template <class Team, class T, class C>
__global__ void backward_rows(const T* logits, const int64_t* targets, CrossEntropySpec spec, const C* lse, C scale,
                              T* dlogits, int64_t rows, int64_t n) {
  const int64_t row = Team::row();
  if (row >= rows) return;
  const int64_t target = targets[row];
  const bool counts = target != spec.ignore_index;
  const C e = static_cast<C>(spec.smoothing);
  const C uniform = scale * e / static_cast<C>(n);
  const C base = lse[row];
  const T* x = logits + row * n;
  T* dx = dlogits + row * n;
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
    C gradient = 0;
    if (counts) {
      gradient = scale * exp(load(x[j]) - base) - uniform;
      if (j == target) gradient -= scale * (1 - e);
    }
    dx[j] = store<T>(gradient);
  }
}

}  // namespace

void cross_entropy(const Tensor& logits, const Tensor& targets, const CrossEntropySpec& spec, Tensor& loss,
                   Tensor& lse) {
  const int64_t rows = logits.shape()[0];
  const int64_t n = logits.shape()[1];
  visit_stored(logits.dtype(), "cross_entropy", [&]<class T>(T) {
    using C = Compute<T>;
    visit_team(rows, n, [&]<class Team>(Team, const Grid& grid) {
      launch(context(logits), "cross_entropy", forward_rows<Team, T, C>, grid, data<T>(logits), data<int64_t>(targets),
             spec, data<C>(loss), data<C>(lse), rows, n);
    });
  });
}

void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const CrossEntropySpec& spec,
                            const Tensor& lse, double scale, Tensor& dlogits) {
  const int64_t rows = logits.shape()[0];
  const int64_t n = logits.shape()[1];
  visit_stored(logits.dtype(), "cross_entropy", [&]<class T>(T) {
    using C = Compute<T>;
    visit_team(rows, n, [&]<class Team>(Team, const Grid& grid) {
      launch(context(logits), "cross_entropy", backward_rows<Team, T, C>, grid, data<T>(logits), data<int64_t>(targets),
             spec, data<C>(lse), static_cast<C>(scale), data<T>(dlogits), rows, n);
    });
  });
}

}  // namespace attune::cuda
