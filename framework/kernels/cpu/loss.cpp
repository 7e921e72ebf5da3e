#include "framework/kernels/loss.h"

#include <cmath>

#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/loss.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/rows.h"
#include "framework/kernels/cpu/simd.h"

#ifndef ATTUNE_FRAMEWORK_KERNELS_CPU_LOSS_CPP_
#define ATTUNE_FRAMEWORK_KERNELS_CPU_LOSS_CPP_
namespace attune::cpu {
namespace {

/// Weights of the classes; data is null where there are none.
template <class T>
struct ClassWeights {
  const T* data;
  T sum;
};

template <class T>
ClassWeights<T> weights_of(const Tensor& class_weights, const CrossEntropySpec& spec) {
  return {class_weights.defined() ? class_weights.data<T>() : nullptr, static_cast<T>(spec.weight_sum)};
}

/// Where the two numbers of a row are.
template <class T>
struct RowStats {
  T* data;

  T& largest() const { return data[0]; }
  T& log_sum() const { return data[1]; }
  RowStats at(int64_t row) const { return {data + 2 * row}; }
};

}  // namespace
}  // namespace attune::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

// The largest logit and the log of the sum of exponentials less it stay apart: their sum, rounded, would be off by as
// much as a logit of that size is.

/// What q w sums up to over a row, and what of it is the target's own.
template <class T>
struct TargetShare {
  T all;
  T own;

  TargetShare(const ClassWeights<T>& weights, int64_t n, int64_t target, T smoothing)
      : own((1 - smoothing) * weights.data[target]) {
    all = own + smoothing * weights.sum / static_cast<T>(n);
  }
};

template <class T>
T weighted_loss(const T* x, int64_t n, int64_t target, const ClassWeights<T>& weights, T smoothing, RowStats<T> stats) {
  const hn::ScalableTag<T> d;
  const TargetShare<T> share(weights, n, target, smoothing);
  const T loss = share.all * stats.log_sum() - share.own * (x[target] - stats.largest());
  if (smoothing == 0) return loss;
  const auto top = hn::Set(d, stats.largest());
  auto plain = hn::Zero(d);
  over_row<T>(n, [&](auto load, auto, auto valid)
                     HWY_ATTR { plain = hn::Add(plain, valid(hn::Mul(load(weights.data), hn::Sub(load(x), top)))); });
  return loss - smoothing * (lane_sum<T>(plain) / static_cast<T>(n));
}

template <class T>
void forward_row(const T* x, int64_t n, int64_t target, ClassWeights<T> weights, double smoothing, T& loss,
                 RowStats<T> stats) {
  const hn::ScalableTag<T> d;
  const T largest = row_max(x, n);
  const auto top = hn::Set(d, largest);
  auto total = hn::Zero(d);
  auto plain = hn::Zero(d);
  over_row<T>(n, [&](auto load, auto, auto valid) HWY_ATTR {
    const auto below = hn::Sub(load(x), top);
    total = hn::Add(total, valid(Exp(d, below)));
    plain = hn::Add(plain, valid(below));
  });
  stats.largest() = largest;
  stats.log_sum() = std::log(lane_sum<T>(total));
  // -sum q log p = log sum exp(z) - (1 - e) z_target - e mean(z), z = x - largest
  const auto e = static_cast<T>(smoothing);
  if (weights.data != nullptr) {
    loss = weighted_loss(x, n, target, weights, e, stats);
    return;
  }
  loss = stats.log_sum() - (1 - e) * (x[target] - largest) - (e > 0 ? e * (lane_sum<T>(plain) / static_cast<T>(n)) : 0);
}

/// log softmax(x) of a vector of x.
template <class T, class V = hn::Vec<hn::ScalableTag<T>>>
struct LogProbability {
  V largest;
  V log_sum;

  explicit LogProbability(RowStats<const T> stats)
      : largest(hn::Set(hn::ScalableTag<T>(), stats.largest())),
        log_sum(hn::Set(hn::ScalableTag<T>(), stats.log_sum())) {}
  HWY_INLINE V operator()(V x) const { return hn::Sub(hn::Sub(x, largest), log_sum); }
};

/// p ratio, 0 where p is: a class that cannot occur adds nothing, though its ratio may be infinity less infinity.
template <class T, class V = hn::Vec<hn::ScalableTag<T>>>
HWY_INLINE V weighted(V p, V ratio) {
  const hn::ScalableTag<T> d;
  return hn::IfThenZeroElse(hn::Eq(p, hn::Zero(d)), hn::Mul(p, ratio));
}

template <class T>
void weighted_backward_row(const T* x, int64_t n, int64_t target, const ClassWeights<T>& weights, T smoothing,
                           RowStats<const T> stats, T scale, T* dx) {
  const hn::ScalableTag<T> d;
  const LogProbability<T> log_of(stats);
  const TargetShare<T> share(weights, n, target, smoothing);
  const auto factor = hn::Set(d, scale * share.all);
  const auto uniform = hn::Set(d, scale * smoothing / static_cast<T>(n));
  over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
    store(hn::Sub(hn::Mul(factor, Exp(d, log_of(load(x)))), hn::Mul(uniform, load(weights.data))), dx);
  });
  dx[target] -= scale * share.own;
}

template <class T>
void backward_row(const T* x, int64_t n, int64_t target, ClassWeights<T> weights, double smoothing,
                  RowStats<const T> stats, T scale, T* dx) {
  if (weights.data != nullptr) {
    return weighted_backward_row(x, n, target, weights, static_cast<T>(smoothing), stats, scale, dx);
  }
  const hn::ScalableTag<T> d;
  const LogProbability<T> log_of(stats);
  const auto factor = hn::Set(d, scale);
  const auto uniform = hn::Set(d, scale * static_cast<T>(smoothing) / static_cast<T>(n));
  over_row<T>(n, [&](auto load, auto store, auto)
                     HWY_ATTR { store(hn::Sub(hn::Mul(factor, Exp(d, log_of(load(x)))), uniform), dx); });
  dx[target] -= scale * static_cast<T>(1 - smoothing);
}

/// KL(p || q) and KL(q || p) of softmax(x) and softmax(y).
template <class T>
void divergence_rows(const T* x, const T* y, int64_t n, RowStats<const T> x_stats, RowStats<const T> y_stats, T& p_q,
                     T& q_p) {
  const hn::ScalableTag<T> d;
  const LogProbability<T> log_of_x(x_stats), log_of_y(y_stats);
  auto forth = hn::Zero(d);
  auto back = hn::Zero(d);
  over_row<T>(n, [&](auto load, auto, auto valid) HWY_ATTR {
    const auto log_p = log_of_x(load(x));
    const auto log_q = log_of_y(load(y));
    const auto ratio = hn::Sub(log_p, log_q);
    forth = hn::Add(forth, valid(weighted<T>(Exp(d, log_p), ratio)));
    back = hn::Sub(back, valid(weighted<T>(Exp(d, log_q), ratio)));
  });
  p_q = lane_sum<T>(forth);
  q_p = lane_sum<T>(back);
}

/// What backward_row() has for both rows, and what their divergence adds.
template <class T>
void backward_rows(const T* x, const T* y, int64_t n, int64_t target, const CrossEntropySpec& spec,
                   RowStats<const T> stats, const T* divergence, int64_t other, T scale, T* dx, T* dy) {
  const hn::ScalableTag<T> d;
  const LogProbability<T> log_of_x(stats), log_of_y(stats.at(other));
  const auto p_q = hn::Set(d, divergence[0]);
  const auto q_p = hn::Set(d, divergence[other]);
  const auto factor = hn::Set(d, scale);
  const auto half = hn::Set(d, scale * static_cast<T>(spec.r_drop / 2));
  const auto uniform = hn::Set(d, scale * static_cast<T>(spec.smoothing) / static_cast<T>(n));
  over_row<T>(n, [&](auto load, auto store, auto) HWY_ATTR {
    const auto log_p = log_of_x(load(x));
    const auto log_q = log_of_y(load(y));
    const auto p = Exp(d, log_p);
    const auto q = Exp(d, log_q);
    const auto ratio = hn::Sub(log_p, log_q);
    const auto apart = hn::Sub(p, q);
    const auto by_p = hn::Add(weighted<T>(p, hn::Sub(ratio, p_q)), apart);
    const auto by_q = hn::Neg(hn::Add(weighted<T>(q, hn::Add(ratio, q_p)), apart));
    store(hn::MulAdd(half, by_p, hn::MulSub(factor, p, uniform)), dx);
    store(hn::MulAdd(half, by_q, hn::MulSub(factor, q, uniform)), dy);
  });
  const T at_target = scale * static_cast<T>(1 - spec.smoothing);
  dx[target] -= at_target;
  dy[target] -= at_target;
}

void divergence_float(const float* x, const float* y, int64_t n, RowStats<const float> x_stats,
                      RowStats<const float> y_stats, float& p_q, float& q_p) {
  divergence_rows(x, y, n, x_stats, y_stats, p_q, q_p);
}
void divergence_double(const double* x, const double* y, int64_t n, RowStats<const double> x_stats,
                       RowStats<const double> y_stats, double& p_q, double& q_p) {
  divergence_rows(x, y, n, x_stats, y_stats, p_q, q_p);
}
void pair_float(const float* x, const float* y, int64_t n, int64_t target, const CrossEntropySpec& spec,
                RowStats<const float> stats, const float* divergence, int64_t other, float scale, float* dx,
                float* dy) {
  backward_rows(x, y, n, target, spec, stats, divergence, other, scale, dx, dy);
}
void pair_double(const double* x, const double* y, int64_t n, int64_t target, const CrossEntropySpec& spec,
                 RowStats<const double> stats, const double* divergence, int64_t other, double scale, double* dx,
                 double* dy) {
  backward_rows(x, y, n, target, spec, stats, divergence, other, scale, dx, dy);
}

void forward_float(const float* x, int64_t n, int64_t target, ClassWeights<float> weights, double smoothing,
                   float& loss, RowStats<float> stats) {
  forward_row(x, n, target, weights, smoothing, loss, stats);
}
void forward_double(const double* x, int64_t n, int64_t target, ClassWeights<double> weights, double smoothing,
                    double& loss, RowStats<double> stats) {
  forward_row(x, n, target, weights, smoothing, loss, stats);
}
void backward_float(const float* x, int64_t n, int64_t target, ClassWeights<float> weights, double smoothing,
                    RowStats<const float> stats, float scale, float* dx) {
  backward_row(x, n, target, weights, smoothing, stats, scale, dx);
}
void backward_double(const double* x, int64_t n, int64_t target, ClassWeights<double> weights, double smoothing,
                     RowStats<const double> stats, double scale, double* dx) {
  backward_row(x, n, target, weights, smoothing, stats, scale, dx);
}

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(forward_float);
HWY_EXPORT(forward_double);
HWY_EXPORT(backward_float);
HWY_EXPORT(backward_double);
HWY_EXPORT(divergence_float);
HWY_EXPORT(divergence_double);
HWY_EXPORT(pair_float);
HWY_EXPORT(pair_double);

namespace {
int64_t row_grain(int64_t width) { return std::max<int64_t>(1, 4096 / std::max<int64_t>(width, 1)); }
}  // namespace

void cross_entropy(const Tensor& logits, const Tensor& targets, const Tensor& class_weights,
                   const CrossEntropySpec& spec, Tensor& loss, Tensor& stats) {
  const int64_t n = logits.shape()[1];
  const int64_t labels = targets.numel();
  const int64_t* target = targets.data<int64_t>();
  visit_floating(logits.dtype(), "cross_entropy", [&]<class T>(T) {
    const T* x = logits.data<T>();
    T* losses = loss.data<T>();
    const RowStats<T> of_rows{stats.data<T>()};
    const auto weights = weights_of<T>(class_weights, spec);
    parallel_for(logits.shape()[0], row_grain(n), [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t label = target[r < labels ? r : r - labels];
        if (label == spec.ignore_index) {
          losses[r] = of_rows.at(r).largest() = of_rows.at(r).log_sum() = 0;
        } else if constexpr (sizeof(T) == 4) {
          HWY_DYNAMIC_DISPATCH(forward_float)(x + r * n, n, label, weights, spec.smoothing, losses[r], of_rows.at(r));
        } else {
          HWY_DYNAMIC_DISPATCH(forward_double)(x + r * n, n, label, weights, spec.smoothing, losses[r], of_rows.at(r));
        }
      }
    });
  });
}

void paired_divergence(const Tensor& logits, const Tensor& targets, const CrossEntropySpec& spec, const Tensor& stats,
                       Tensor& divergence, Tensor& loss) {
  const int64_t n = logits.shape()[1];
  const int64_t pairs = targets.numel();
  const int64_t* target = targets.data<int64_t>();
  visit_floating(logits.dtype(), "paired_divergence", [&]<class T>(T) {
    const T* x = logits.data<T>();
    const RowStats<const T> of_rows{stats.data<T>()};
    T* apart = divergence.data<T>();
    T* losses = loss.data<T>();
    const auto half = static_cast<T>(spec.r_drop / 2);
    parallel_for(pairs, row_grain(n), [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t s = r + pairs;
        apart[r] = apart[s] = 0;
        if (target[r] == spec.ignore_index) continue;
        if constexpr (sizeof(T) == 4) {
          HWY_DYNAMIC_DISPATCH(divergence_float)
          (x + r * n, x + s * n, n, of_rows.at(r), of_rows.at(s), apart[r], apart[s]);
        } else {
          HWY_DYNAMIC_DISPATCH(divergence_double)
          (x + r * n, x + s * n, n, of_rows.at(r), of_rows.at(s), apart[r], apart[s]);
        }
        losses[r] += half * apart[r];
        losses[s] += half * apart[s];
      }
    });
  });
}

namespace {

template <class T>
void backward_pairs(const Tensor& logits, const Tensor& targets, const CrossEntropySpec& spec, const Tensor& stats,
                    const Tensor& divergence, double scale, Tensor& dlogits) {
  const int64_t n = logits.shape()[1];
  const int64_t pairs = targets.numel();
  const int64_t* target = targets.data<int64_t>();
  const T* x = logits.data<T>();
  const RowStats<const T> of_rows{stats.data<T>()};
  const T* apart = divergence.data<T>();
  T* dx = dlogits.data<T>();
  const auto factor = static_cast<T>(scale);
  parallel_for(pairs, row_grain(n), [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t s = r + pairs;
      if (target[r] == spec.ignore_index) {
        std::fill(dx + r * n, dx + (r + 1) * n, T{0});
        std::fill(dx + s * n, dx + (s + 1) * n, T{0});
      } else if constexpr (sizeof(T) == 4) {
        HWY_DYNAMIC_DISPATCH(pair_float)
        (x + r * n, x + s * n, n, target[r], spec, of_rows.at(r), apart + r, pairs, factor, dx + r * n, dx + s * n);
      } else {
        HWY_DYNAMIC_DISPATCH(pair_double)
        (x + r * n, x + s * n, n, target[r], spec, of_rows.at(r), apart + r, pairs, factor, dx + r * n, dx + s * n);
      }
    }
  });
}

}  // namespace

void cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& class_weights,
                            const CrossEntropySpec& spec, const Tensor& stats, const Tensor& divergence,
                            const Tensor& dlosses, double scale, Tensor& dlogits) {
  if (divergence.defined()) {
    visit_floating(logits.dtype(), "cross_entropy",
                   [&]<class T>(T) { backward_pairs<T>(logits, targets, spec, stats, divergence, scale, dlogits); });
    return;
  }
  const int64_t n = logits.shape()[1];
  const int64_t* target = targets.data<int64_t>();
  visit_floating(logits.dtype(), "cross_entropy", [&]<class T>(T) {
    const T* x = logits.data<T>();
    const RowStats<const T> of_rows{stats.data<T>()};
    T* dx = dlogits.data<T>();
    const auto weights = weights_of<T>(class_weights, spec);
    const T* dloss = dlosses.defined() ? dlosses.data<T>() : nullptr;
    parallel_for(logits.shape()[0], row_grain(n), [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t r = begin; r < end; ++r) {
        const T factor = static_cast<T>(scale) * (dloss == nullptr ? T{1} : dloss[r]);
        if (target[r] == spec.ignore_index || (dloss != nullptr && dloss[r] == 0)) {
          std::fill(dx + r * n, dx + (r + 1) * n, T{0});
        } else if constexpr (sizeof(T) == 4) {
          HWY_DYNAMIC_DISPATCH(backward_float)
          (x + r * n, n, target[r], weights, spec.smoothing, of_rows.at(r), factor, dx + r * n);
        } else {
          HWY_DYNAMIC_DISPATCH(backward_double)
          (x + r * n, n, target[r], weights, spec.smoothing, of_rows.at(r), factor, dx + r * n);
        }
      }
    });
  });
}

}  // namespace attune::cpu
#endif
