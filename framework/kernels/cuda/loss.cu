#include "framework/kernels/cuda/softmax.cuh"
#include "framework/kernels/loss.h"

namespace attune::cuda {
namespace {

/// Of `rows` rows; targets may be those of the first half alone.
__device__ int64_t target_of(const int64_t* targets, int64_t row, int64_t labels) {
  return targets[row < labels ? row : row - labels];
}

/// log softmax of one logit of a row, by the row's two numbers in stats.
template <class C>
__device__ C log_probability(C x, const C* stats, int64_t row) {
  return x - stats[2 * row] - stats[2 * row + 1];
}

/// p ratio, 0 where p is: a class that cannot occur adds nothing, though its ratio may be infinity less infinity.
template <class C>
__device__ C weighted(C p, C ratio) {
  return p == C(0) ? C(0) : p * ratio;
}

/// What q w sums up to over a row, and what of it is the target's own. weights: optional.
template <class C>
struct TargetShare {
  C all = 1;
  C own;

  __device__ TargetShare(const C* weights, const CrossEntropySpec& spec, int64_t n, int64_t target)
      : own(1 - static_cast<C>(spec.smoothing)) {
    if (weights == nullptr) return;
    own *= weights[target];
    all = own + static_cast<C>(spec.smoothing) * static_cast<C>(spec.weight_sum) / static_cast<C>(n);
  }
};

/// Losses, stats and weights are float32 beside bfloat16 logits.
template <class Team, class T, class C>
__global__ void forward_rows(const T* logits, const int64_t* targets, int64_t labels, const C* weights,
                             CrossEntropySpec spec, C* loss, C* stats, int64_t rows, int64_t n) {
  const int64_t row = Team::row();
  if (row >= rows) return;
  const int64_t target = target_of(targets, row, labels);
  if (target == spec.ignore_index) {
    if (Team::rank() == 0) loss[row] = stats[2 * row] = stats[2 * row + 1] = 0;
    return;
  }
  const T* x = logits + row * n;
  LogSum<C> part;
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) part.add(load(x[j]));
  const LogSum<C> all = Team::all(part, LogSum<C>::merged);
  const C e = static_cast<C>(spec.smoothing);
  C plain = 0;
  if (e > 0) {
    for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
      const C below = load(x[j]) - all.largest;
      plain += weights == nullptr ? below : weights[j] * below;
    }
    plain = Team::sum(plain);
  }
  if (Team::rank() != 0) return;
  // -sum q log p = log sum exp(z) - (1 - e) z_target - e mean(z), z = x - largest
  stats[2 * row] = all.largest;
  stats[2 * row + 1] = all.log_sum();
  const TargetShare<C> share(weights, spec, n, target);
  loss[row] = share.all * all.log_sum() - share.own * (load(x[target]) - all.largest) -
              (e > 0 ? e * (plain / static_cast<C>(n)) : C(0));
}

/// weights, dlosses: optional.
template <class Team, class T, class C>
__global__ void backward_rows(const T* logits, const int64_t* targets, const C* weights, CrossEntropySpec spec,
                              const C* stats, const C* dlosses, C scale, T* dlogits, int64_t rows, int64_t n) {
  const int64_t row = Team::row();
  if (row >= rows) return;
  const int64_t target = targets[row];
  const bool counts = target != spec.ignore_index && (dlosses == nullptr || dlosses[row] != C(0));
  const C factor = dlosses == nullptr ? scale : scale * dlosses[row];
  const TargetShare<C> share(weights, spec, n, counts ? target : 0);
  const C uniform = factor * static_cast<C>(spec.smoothing) / static_cast<C>(n);
  const T* x = logits + row * n;
  T* dx = dlogits + row * n;
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
    C gradient = 0;
    if (counts) {
      gradient = factor * share.all * exp(log_probability(load(x[j]), stats, row)) -
                 (weights == nullptr ? uniform : uniform * weights[j]);
      if (j == target) gradient -= factor * share.own;
    }
    dx[j] = store<T>(gradient);
  }
}

/// Of pair r: rows r and r + pairs.
template <class Team, class T, class C>
__global__ void divergence_rows(const T* logits, const int64_t* targets, CrossEntropySpec spec, const C* stats,
                                C* divergence, C* loss, int64_t pairs, int64_t n) {
  const int64_t row = Team::row();
  if (row >= pairs) return;
  const int64_t other = row + pairs;
  if (targets[row] == spec.ignore_index) {
    if (Team::rank() == 0) divergence[row] = divergence[other] = 0;
    return;
  }
  const T* x = logits + row * n;
  const T* y = logits + other * n;
  C forth = 0;
  C back = 0;
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
    const C log_p = log_probability(load(x[j]), stats, row);
    const C log_q = log_probability(load(y[j]), stats, other);
    forth += weighted(exp(log_p), log_p - log_q);
    back -= weighted(exp(log_q), log_p - log_q);
  }
  forth = Team::sum(forth);
  back = Team::sum(back);
  if (Team::rank() != 0) return;
  const C half = static_cast<C>(spec.r_drop / 2);
  divergence[row] = forth;
  divergence[other] = back;
  loss[row] += half * forth;
  loss[other] += half * back;
}

template <class Team, class T, class C>
__global__ void backward_pairs(const T* logits, const int64_t* targets, CrossEntropySpec spec, const C* stats,
                               const C* divergence, C scale, T* dlogits, int64_t pairs, int64_t n) {
  const int64_t row = Team::row();
  if (row >= pairs) return;
  const int64_t other = row + pairs;
  const int64_t target = targets[row];
  const bool counts = target != spec.ignore_index;
  const C e = static_cast<C>(spec.smoothing);
  const C uniform = scale * e / static_cast<C>(n);
  const C half = scale * static_cast<C>(spec.r_drop / 2);
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
    const int64_t at_x = row * n + j;
    const int64_t at_y = other * n + j;
    C dx = 0;
    C dy = 0;
    if (counts) {
      const C log_p = log_probability(load(logits[at_x]), stats, row);
      const C log_q = log_probability(load(logits[at_y]), stats, other);
      const C p = exp(log_p);
      const C q = exp(log_q);
      const C ratio = log_p - log_q;
      const C at_target = uniform + (j == target ? scale * (1 - e) : C(0));
      dx = scale * p - at_target + half * (p - q + weighted(p, ratio - divergence[row]));
      dy = scale * q - at_target + half * (q - p - weighted(q, ratio + divergence[other]));
    }
    dlogits[at_x] = store<T>(dx);
    dlogits[at_y] = store<T>(dy);
  }
}

}  // namespace

void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& class_weights,
                   const CrossEntropySpec& spec, Tensor& loss, Tensor& stats) {
  const int64_t rows = logits.shape()[0];
  const int64_t n = logits.shape()[1];
  visit_stored(logits.dtype(), "cross_entropy", [&]<class T>(T) {
    using C = Compute<T>;
    visit_team(rows, n, [&]<class Team>(Team, const Grid& grid) {
      launch(context(logits), "cross_entropy", forward_rows<Team, T, C>, grid, data<T>(logits), data<int64_t>(targets),
             targets.numel(), data<C>(class_weights), spec, data<C>(loss), data<C>(stats), rows, n);
    });
  });
}

void paired_divergence(const Tensor& logits, const Tensor& targets, const CrossEntropySpec& spec, const Tensor& stats,
                       Tensor& divergence, Tensor& loss) {
  const int64_t pairs = targets.numel();
  const int64_t n = logits.shape()[1];
  visit_stored(logits.dtype(), "paired_divergence", [&]<class T>(T) {
    using C = Compute<T>;
    visit_team(pairs, n, [&]<class Team>(Team, const Grid& grid) {
      launch(context(logits), "paired_divergence", divergence_rows<Team, T, C>, grid, data<T>(logits),
             data<int64_t>(targets), spec, data<C>(stats), data<C>(divergence), data<C>(loss), pairs, n);
    });
  });
}

void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& class_weights,
                            const CrossEntropySpec& spec, const Tensor& stats, const Tensor& divergence,
                            const Tensor& dlosses, double scale, Tensor& dlogits) {
  const int64_t rows = targets.numel();
  const int64_t n = logits.shape()[1];
  visit_stored(logits.dtype(), "cross_entropy", [&]<class T>(T) {
    using C = Compute<T>;
    if (divergence.defined()) {
      visit_team(rows, n, [&]<class Team>(Team, const Grid& grid) {
        launch(context(logits), "cross_entropy", backward_pairs<Team, T, C>, grid, data<T>(logits),
               data<int64_t>(targets), spec, data<C>(stats), data<C>(divergence), static_cast<C>(scale),
               data<T>(dlogits), rows, n);
      });
      return;
    }
    visit_team(rows, n, [&]<class Team>(Team, const Grid& grid) {
      launch(context(logits), "cross_entropy", backward_rows<Team, T, C>, grid, data<T>(logits), data<int64_t>(targets),
             data<C>(class_weights), spec, data<C>(stats), data<C>(dlosses), static_cast<C>(scale), data<T>(dlogits),
             rows, n);
    });
  });
}

}  // namespace attune::cuda
