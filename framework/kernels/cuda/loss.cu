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

/// A thread for every element.
template <class T, class C>
__global__ void backward_elements(const T* logits, const int64_t* targets, CrossEntropySpec spec, const C* lse, C scale,
                                  T* dlogits, int64_t n, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t row = at / n;
  const int64_t target = targets[row];
  C gradient = 0;
  if (target != spec.ignore_index) {
    const C e = static_cast<C>(spec.smoothing);
    gradient = scale * exp(load(logits[at]) - lse[row]) - scale * e / static_cast<C>(n);
    if (at - row * n == target) gradient -= scale * (1 - e);
  }
  dlogits[at] = store<T>(gradient);
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
  const int64_t count = logits.numel();
  visit_stored(logits.dtype(), "cross_entropy", [&]<class T>(T) {
    using C = Compute<T>;
    launch(context(logits), "cross_entropy", backward_elements<T, C>, thread_each(count), data<T>(logits),
           data<int64_t>(targets), spec, data<C>(lse), static_cast<C>(scale), data<T>(dlogits), logits.shape()[1],
           count);
  });
}

}  // namespace attune::cuda
