#include "framework/kernels/optim.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <initializer_list>

#include "framework/kernels/cpu/parallel.h"

// Of all targets together.
#ifndef ATTUNE_FRAMEWORK_KERNELS_CPU_OPTIM_CPP_
#define ATTUNE_FRAMEWORK_KERNELS_CPU_OPTIM_CPP_
namespace attune::cpu {
namespace {

// What a part of a step met that is NaN or infinite.
constexpr unsigned kBadGradient = 1;
constexpr unsigned kBadResult = 2;

}  // namespace
}  // namespace attune::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/optim.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Vectors of at most kFlatAlignment elements, so that pieces need no tails.
template <class T>
using Tag = hn::CappedTag<T, static_cast<size_t>(kFlatAlignment)>;

// The gradient as an optimizer sees it. kLimit is a template parameter because min and max hide NaN.
template <class T, bool kLimit>
struct Transformed {
  explicit Transformed(const GradientTransform& transform)
      : scale(hn::Set(d, static_cast<T>(transform.scale))), limit(hn::Set(d, static_cast<T>(transform.limit))) {}

  HWY_INLINE hn::Vec<Tag<T>> operator()(const T* gradient) const {
    auto g = hn::Mul(hn::Load(d, gradient), scale);
    if constexpr (kLimit) {
      g = hn::IfThenElse(hn::Gt(g, limit), limit, g);
      g = hn::IfThenElse(hn::Lt(g, hn::Neg(limit)), hn::Neg(limit), g);
    }
    return g;
  }

  Tag<T> d;
  hn::Vec<Tag<T>> scale;
  hn::Vec<Tag<T>> limit;
};

// Whether all vectors that were seen are finite. NaN and infinity times zero are NaN, which a sum never gets rid of.
template <class T>
struct AllFinite {
  AllFinite() : sum(hn::Zero(d)) {}  // not a default of the member: that would be compiled for no target

  HWY_INLINE void see(hn::Vec<Tag<T>> x) { sum = hn::MulAdd(x, hn::Zero(d), sum); }
  HWY_INLINE bool failed() const { return !hn::AllFalse(d, hn::IsNaN(sum)); }

  Tag<T> d;
  hn::Vec<Tag<T>> sum;
};

template <class T>
unsigned flags(const AllFinite<T>& gradients, const AllFinite<T>& results) {
  return (gradients.failed() ? kBadGradient : 0) | (results.failed() ? kBadResult : 0);
}

template <class T, bool kLimit>
unsigned sgd(T* HWY_RESTRICT value, T* HWY_RESTRICT gradient, T* HWY_RESTRICT momentum, int64_t n,
             const FlatRange& range, const GradientTransform& transform, const SgdRule& rule) {
  const Tag<T> d;
  const Transformed<T, kLimit> transformed(transform);
  const auto set = [&](double x) { return hn::Set(d, static_cast<T>(x)); };
  const auto rate = set(range.learning_rate);
  const auto decay = set(range.weight_decay);
  // The first gradient enters the momentum undampened.
  const auto keep = set(range.step == 1 ? 0 : rule.momentum);
  const auto take = set(range.step == 1 ? 1 : 1 - rule.dampening);
  const auto ahead = set(rule.momentum);
  const auto zero = hn::Zero(d);
  AllFinite<T> gradients, results;
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto w = hn::Load(d, value + i);
    const auto given = transformed(gradient + i);
    gradients.see(given);
    auto g = hn::MulAdd(decay, w, given);
    if (momentum != nullptr) {
      const auto b = hn::MulAdd(keep, hn::Load(d, momentum + i), hn::Mul(take, g));
      hn::Store(b, d, momentum + i);
      results.see(b);
      g = rule.nesterov ? hn::MulAdd(ahead, b, g) : b;
    }
    const auto next = hn::NegMulAdd(rate, g, w);
    hn::Store(next, d, value + i);
    results.see(next);
    if (range.zero_gradient) hn::Store(zero, d, gradient + i);
  }
  return flags(gradients, results);
}

template <class T, bool kLimit>
unsigned adam(T* HWY_RESTRICT value, T* HWY_RESTRICT gradient, T* HWY_RESTRICT m, T* HWY_RESTRICT v, int64_t n,
              const FlatRange& range, const GradientTransform& transform, const AdamRule& rule) {
  const Tag<T> d;
  const Transformed<T, kLimit> transformed(transform);
  const auto set = [&](double x) { return hn::Set(d, static_cast<T>(x)); };
  const auto steps = static_cast<double>(range.step);
  const auto rate = set(range.learning_rate / (1 - std::pow(rule.beta1, steps)));
  const auto correction = set(1 / std::sqrt(1 - std::pow(rule.beta2, steps)));
  const auto shrink = set(rule.decoupled ? 1 - range.learning_rate * range.weight_decay : 1);
  const auto decay = set(rule.decoupled ? 0 : range.weight_decay);
  const auto epsilon = set(rule.epsilon);
  const auto take1 = set(1 - rule.beta1);
  const auto keep2 = set(rule.beta2);
  const auto take2 = set(1 - rule.beta2);
  const auto zero = hn::Zero(d);
  AllFinite<T> gradients, results;
  for (int64_t i = 0; i < n; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto w = hn::Load(d, value + i);
    const auto given = transformed(gradient + i);
    gradients.see(given);
    const auto g = hn::MulAdd(decay, w, given);
    const auto m0 = hn::Load(d, m + i);
    const auto m1 = hn::MulAdd(take1, hn::Sub(g, m0), m0);
    const auto v1 = hn::MulAdd(take2, hn::Mul(g, g), hn::Mul(keep2, hn::Load(d, v + i)));
    hn::Store(m1, d, m + i);
    hn::Store(v1, d, v + i);
    results.see(v1);
    const auto step = hn::Div(hn::Mul(rate, m1), hn::MulAdd(hn::Sqrt(v1), correction, epsilon));
    const auto next = hn::Sub(hn::Mul(w, shrink), step);
    hn::Store(next, d, value + i);
    results.see(next);
    if (range.zero_gradient) hn::Store(zero, d, gradient + i);
  }
  return flags(gradients, results);
}

template <class T>
double squares(const T* HWY_RESTRICT x, int64_t n) {
  const hn::CappedTag<double, static_cast<size_t>(kFlatAlignment) / 2> d;
  const auto load = [&](const T* from) {
    if constexpr (std::is_same_v<T, float>) {
      return hn::PromoteTo(d, hn::Load(hn::Rebind<float, decltype(d)>(), from));
    } else {
      return hn::Load(d, from);
    }
  };
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  for (int64_t i = 0; i < n; i += 2 * lanes) {
    const auto a = load(x + i);
    const auto b = load(x + i + lanes);
    sum0 = hn::MulAdd(a, a, sum0);
    sum1 = hn::MulAdd(b, b, sum1);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
}

template <class T>
void average(const T* HWY_RESTRICT x, T weight, T* HWY_RESTRICT y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += weight * (x[i] - y[i]);
}

template <class T>
void swap_contents(T* HWY_RESTRICT a, T* HWY_RESTRICT b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const T x = a[i];
    a[i] = b[i];
    b[i] = x;
  }
}

// What is dispatched: elements begin ... begin + n - 1 of flat tensors.

template <class T>
T* at(Tensor& x, int64_t begin) {
  return x.defined() ? x.data<T>() + begin : nullptr;
}

unsigned sgd_part(Tensor& value, Tensor& gradient, Tensor& momentum, int64_t begin, int64_t n, const FlatRange& range,
                  const GradientTransform& transform, const SgdRule& rule) {
  return visit_floating(value.dtype(), "sgd_step", [&]<class T>(T) {
    const auto run = std::isinf(transform.limit) ? sgd<T, false> : sgd<T, true>;
    return run(at<T>(value, begin), at<T>(gradient, begin), at<T>(momentum, begin), n, range, transform, rule);
  });
}

unsigned adam_part(Tensor& value, Tensor& gradient, Tensor& m, Tensor& v, int64_t begin, int64_t n,
                   const FlatRange& range, const GradientTransform& transform, const AdamRule& rule) {
  return visit_floating(value.dtype(), "adam_step", [&]<class T>(T) {
    const auto run = std::isinf(transform.limit) ? adam<T, false> : adam<T, true>;
    return run(at<T>(value, begin), at<T>(gradient, begin), at<T>(m, begin), at<T>(v, begin), n, range, transform,
               rule);
  });
}

double squares_part(const Tensor& x, int64_t begin, int64_t n) {
  return visit_floating(x.dtype(), "sum_squares", [&]<class T>(T) { return squares(x.data<T>() + begin, n); });
}

void average_part(const Tensor& x, double weight, Tensor& y, int64_t begin, int64_t n) {
  visit_floating(x.dtype(), "move_average",
                 [&]<class T>(T) { average(x.data<T>() + begin, static_cast<T>(weight), at<T>(y, begin), n); });
}

void exchange_part(Tensor& a, Tensor& b, int64_t begin, int64_t n) {
  visit_floating(a.dtype(), "exchange", [&]<class T>(T) { swap_contents(at<T>(a, begin), at<T>(b, begin), n); });
}

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(sgd_part);
HWY_EXPORT(adam_part);
HWY_EXPORT(squares_part);
HWY_EXPORT(average_part);
HWY_EXPORT(exchange_part);

namespace {

constexpr int64_t kGrain = 16384;  // elements

int64_t total_length(std::span<const FlatRange> ranges) {
  int64_t total = 0;
  for (const FlatRange& range : ranges) total += range.end - range.begin;
  return total;
}

/// Calls f(range, begin, n) for the parts of ranges that lie between `begin` and `end` of their concatenation.
template <class F>
void walk(std::span<const FlatRange> ranges, int64_t begin, int64_t end, F&& f) {
  int64_t before = 0;
  for (const FlatRange& range : ranges) {
    const int64_t length = range.end - range.begin;
    const int64_t first = std::max<int64_t>(begin - before, 0);
    const int64_t last = std::min(end - before, length);
    if (first < last) f(range, range.begin + first, last - first);
    before += length;
    if (before >= end) return;
  }
}

template <class F>
void parallel_ranges(std::span<const FlatRange> ranges, F&& f) {
  parallel_for(
      total_length(ranges) / kFlatAlignment, kGrain / kFlatAlignment,
      [&](int64_t begin, int64_t end, int64_t) { walk(ranges, begin * kFlatAlignment, end * kFlatAlignment, f); });
}

/// step(transform) with the scale to be used, unless that says that there is no step.
template <class Step>
void with_scale(const GradientTransform& transform, Tensor& gradient, std::span<const FlatRange> ranges,
                const Step& step) {
  if (!transform.scale_there.defined()) return step(transform);
  const double scale = *transform.scale_there.data<double>();
  if (!std::isnan(scale)) {
    return step({.scale = scale, .limit = transform.limit, .scale_there = {}, .not_finite = transform.not_finite});
  }
  visit_floating(gradient.dtype(), "optimizer", [&]<class T>(T) {
    T* begin = gradient.data<T>();
    for (const FlatRange& range : ranges) {
      if (range.zero_gradient) std::fill(begin + range.begin, begin + range.end, T(0));
    }
  });
}

/// Index of the first of the elements begin ... end - 1 that is NaN or infinite, -1 where there is none.
int64_t first_not_finite(const Tensor& x, int64_t begin, int64_t end) {
  return visit_floating(x.dtype(), "optimizer", [&]<class T>(T) -> int64_t {
    const T* elements = x.data<T>();
    for (int64_t i = begin; i < end; ++i) {
      if (!std::isfinite(elements[i])) return i;
    }
    return -1;
  });
}

int64_t first_not_finite(const Tensor& x, std::span<const FlatRange> ranges) {
  for (const FlatRange& range : ranges) {
    if (const int64_t i = first_not_finite(x, range.begin, range.end); i >= 0) return i;
  }
  return -1;
}

/// The elements that GradientTransform::not_finite names, looked for only where a part of the step says that there are
/// some.
class NotFinite {
 public:
  explicit NotFinite(const GradientTransform& transform) : found_(transform.not_finite) {}

  /// flags: what the step on the elements begin ... begin + n - 1 returned. results: the value and the moments.
  void note(unsigned flags, int64_t begin, int64_t n, const Tensor& gradient,
            std::initializer_list<const Tensor*> results) {
    if (flags == 0) return;
    const auto first = [&](const Tensor& x) { return first_not_finite(x, begin, begin + n); };
    int64_t result = -1;
    for (const Tensor* tensor : results) {
      if (tensor->defined()) lower(result, first(*tensor));
    }
    int64_t source = first(gradient);
    if (source < 0) source = result;  // zeros by now, or finite but for its scale
    if ((flags & kBadGradient) != 0) lower(gradient_, source);
    if ((flags & kBadResult) != 0) lower(result_, result);
  }

  ~NotFinite() {
    if (!found_.defined()) return;
    auto* found = found_.data<int64_t>();
    lower(found[0], gradient_);
    lower(found[1], result_);
  }
  NotFinite(const NotFinite&) = delete;
  NotFinite& operator=(const NotFinite&) = delete;

 private:
  static bool before(int64_t i, int64_t j) { return static_cast<uint64_t>(i) < static_cast<uint64_t>(j); }
  static void lower(int64_t& to, int64_t i) {
    if (before(i, to)) to = i;
  }
  static void lower(std::atomic<int64_t>& to, int64_t i) {
    int64_t old = to.load();
    while (before(i, old) && !to.compare_exchange_weak(old, i)) {
    }
  }

  Tensor found_;
  std::atomic<int64_t> gradient_ = -1;
  std::atomic<int64_t> result_ = -1;
};

}  // namespace

void sgd_step(Tensor& value, Tensor& gradient, Tensor& momentum, std::span<const FlatRange> ranges,
              const GradientTransform& transform, const SgdRule& rule) {
  with_scale(transform, gradient, ranges, [&](const GradientTransform& known) {
    NotFinite not_finite(known);
    parallel_ranges(ranges, [&](const FlatRange& range, int64_t begin, int64_t n) {
      const unsigned flags = HWY_DYNAMIC_DISPATCH(sgd_part)(value, gradient, momentum, begin, n, range, known, rule);
      not_finite.note(flags, begin, n, gradient, {&value, &momentum});
    });
  });
}

void adam_step(Tensor& value, Tensor& gradient, Tensor& m, Tensor& v, std::span<const FlatRange> ranges,
               const GradientTransform& transform, const AdamRule& rule) {
  with_scale(transform, gradient, ranges, [&](const GradientTransform& known) {
    NotFinite not_finite(known);
    parallel_ranges(ranges, [&](const FlatRange& range, int64_t begin, int64_t n) {
      const unsigned flags = HWY_DYNAMIC_DISPATCH(adam_part)(value, gradient, m, v, begin, n, range, known, rule);
      not_finite.note(flags, begin, n, gradient, {&value, &m, &v});
    });
  });
}

void sum_squares(const Tensor& x, std::span<const FlatRange> ranges, Tensor& found) {
  // Partial sums of blocks of a fixed size, added up in order, do not depend on the number of threads.
  constexpr int64_t kBlock = kGrain;
  const int64_t length = total_length(ranges);
  const int64_t blocks = (length + kBlock - 1) / kBlock;
  double* partial = scratch<double>(0, blocks);
  parallel_for(blocks, 1, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t block = begin; block < end; ++block) {
      partial[block] = 0;
      walk(ranges, block * kBlock, std::min((block + 1) * kBlock, length),
           [&](const FlatRange&, int64_t first, int64_t n) {
             partial[block] += HWY_DYNAMIC_DISPATCH(squares_part)(x, first, n);
           });
    }
  });
  double total = 0;
  for (int64_t block = 0; block < blocks; ++block) total += partial[block];
  auto* out = found.data<double>();
  out[0] = total;
  out[1] = static_cast<double>(std::isfinite(total) ? -1 : first_not_finite(x, ranges));
}

void clip_by_norm(double scale, double limit, Tensor& report) {
  auto* rows = report.data<double>();
  const int64_t count = report.dim(0) - 1;
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += rows[2 * i];
  const double norm = std::sqrt(total) * std::abs(scale);
  rows[2 * count] = norm;
  rows[2 * count + 1] = std::isfinite(norm) ? scale * std::min(1.0, limit / (norm + 1e-6)) : std::nan("");
}

void move_average(const Tensor& x, double weight, Tensor& average) {
  parallel_for(x.numel(), kGrain, [&](int64_t begin, int64_t end, int64_t) {
    HWY_DYNAMIC_DISPATCH(average_part)(x, weight, average, begin, end - begin);
  });
}

void exchange(Tensor& a, Tensor& b) {
  parallel_for(a.numel(), kGrain, [&](int64_t begin, int64_t end, int64_t) {
    HWY_DYNAMIC_DISPATCH(exchange_part)(a, b, begin, end - begin);
  });
}

}  // namespace attune::cpu
#endif
