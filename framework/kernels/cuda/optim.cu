#include <cmath>
#include <vector>

#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/team.cuh"
#include "framework/kernels/optim.h"

namespace attune::cuda {
namespace {

// A launch updates the elements of many ranges at once: their list is an argument of the kernel.
constexpr int kRanges = 48;

template <class Rule>
struct Ranges {
  int count = 0;
  int64_t begins[kRanges] = {};  ///< in the tensors
  int64_t ends[kRanges] = {};    ///< in the concatenation of the ranges
  Rule rules[kRanges];

  /// The range of element `at` of the concatenation, which becomes its index in the tensors.
  __device__ const Rule& find(int64_t& at) const {
    int low = 0;
    for (int high = count - 1; low < high;) {
      const int middle = (low + high) / 2;
      if (at < ends[middle]) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    at += begins[low] - (low == 0 ? 0 : ends[low - 1]);
    return rules[low];
  }
};

/// launch(list, elements) for as many ranges at a time as fit. rule(range): what the kernel needs of it.
template <class Rule, class MakeRule, class Launch>
void for_ranges(std::span<const FlatRange> ranges, const MakeRule& rule, const Launch& launch_list) {
  Ranges<Rule> list;
  int64_t length = 0;
  const auto flush = [&] {
    if (list.count > 0) launch_list(list, length);
    list.count = 0;
    length = 0;
  };
  for (const FlatRange& range : ranges) {
    length += range.end - range.begin;
    list.begins[list.count] = range.begin;
    list.ends[list.count] = length;
    list.rules[list.count] = rule(range);
    if (++list.count == kRanges) flush();
  }
  flush();
}

template <class C>
__device__ C transformed(C gradient, C scale, C limit) {
  const C g = gradient * scale;
  return g > limit ? limit : g < -limit ? -limit : g;
}

template <class C>
struct Sgd {
  C rate, decay, keep, take;
  bool zero_gradient;
};

template <class T>
__global__ void sgd(T* value, T* gradient, T* momentum, Ranges<Sgd<Compute<T>>> ranges, int64_t length,
                    Compute<T> scale, Compute<T> limit, Compute<T> ahead, bool nesterov) {
  using C = Compute<T>;
  int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= length) return;
  const Sgd<C>& r = ranges.find(at);
  const C w = load(value[at]);
  C g = transformed(load(gradient[at]), scale, limit) + r.decay * w;
  if (momentum != nullptr) {
    const C b = r.keep * load(momentum[at]) + r.take * g;
    momentum[at] = store<T>(b);
    g = nesterov ? g + ahead * b : b;
  }
  value[at] = store<T>(w - r.rate * g);
  if (r.zero_gradient) gradient[at] = store<T>(C(0));
}

template <class C>
struct Adam {
  C rate, correction, shrink, decay;
  bool zero_gradient;
};

template <class T>
__global__ void adam(T* value, T* gradient, T* m, T* v, Ranges<Adam<Compute<T>>> ranges, int64_t length,
                     Compute<T> scale, Compute<T> limit, Compute<T> take1, Compute<T> keep2, Compute<T> take2,
                     Compute<T> epsilon) {
  using C = Compute<T>;
  int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= length) return;
  const Adam<C>& r = ranges.find(at);
  const C w = load(value[at]);
  const C g = transformed(load(gradient[at]), scale, limit) + r.decay * w;
  const C m0 = load(m[at]);
  const C m1 = m0 + take1 * (g - m0);
  const C v1 = take2 * (g * g) + keep2 * load(v[at]);
  m[at] = store<T>(m1);
  v[at] = store<T>(v1);
  value[at] = store<T>(w * r.shrink - r.rate * m1 / (sqrt(v1) * r.correction + epsilon));
  if (r.zero_gradient) gradient[at] = store<T>(C(0));
}

constexpr int64_t kSquares = 4096;  ///< elements of a block: sums do not depend on the device

struct NoRule {};

/// A block for every 4,096 elements.
template <class T>
__global__ void squares(const T* x, Ranges<NoRule> ranges, int64_t length, double* sums) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kSquares;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < begin + kSquares && i < length; i += blockDim.x) {
    int64_t at = i;
    ranges.find(at);
    const auto value = static_cast<double>(load(x[at]));
    sum += value * value;
  }
  sum = Team<256>::sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

/// One block: *total = the sum of `sums`.
__global__ void add_up(const double* sums, int64_t count, double* total) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += sums[i];
  sum = Team<256>::sum(sum);
  if (threadIdx.x == 0) *total = sum;
}

template <class T>
__global__ void move_towards(const T* x, Compute<T> weight, T* y, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const Compute<T> old = load(y[i]);
  y[i] = store<T>(old + weight * (load(x[i]) - old));
}

template <class T>
__global__ void swap_elements(T* a, T* b, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const T x = a[i];
  a[i] = b[i];
  b[i] = x;
}

}  // namespace

void sgd_step(Tensor& value, Tensor& gradient, Tensor& momentum, std::span<const FlatRange> ranges,
              const GradientTransform& transform, const SgdRule& rule) {
  const Context& c = context(value);
  visit_stored(value.dtype(), "sgd_step", [&]<class T>(T) {
    using C = Compute<T>;
    const auto of = [&](const FlatRange& range) {
      // The first gradient enters the momentum undampened.
      const bool first = range.step == 1;
      return Sgd<C>{static_cast<C>(range.learning_rate), static_cast<C>(range.weight_decay),
                    static_cast<C>(first ? 0 : rule.momentum), static_cast<C>(first ? 1 : 1 - rule.dampening),
                    range.zero_gradient};
    };
    for_ranges<Sgd<C>>(ranges, of, [&](const Ranges<Sgd<C>>& list, int64_t length) {
      launch(c, "sgd_step", sgd<T>, thread_each(length), data<T>(value), data<T>(gradient), data<T>(momentum), list,
             length, static_cast<C>(transform.scale), static_cast<C>(transform.limit), static_cast<C>(rule.momentum),
             rule.nesterov);
    });
  });
}

void adam_step(Tensor& value, Tensor& gradient, Tensor& m, Tensor& v, std::span<const FlatRange> ranges,
               const GradientTransform& transform, const AdamRule& rule) {
  const Context& c = context(value);
  visit_stored(value.dtype(), "adam_step", [&]<class T>(T) {
    using C = Compute<T>;
    const auto of = [&](const FlatRange& range) {
      const auto steps = static_cast<double>(range.step);
      return Adam<C>{static_cast<C>(range.learning_rate / (1 - std::pow(rule.beta1, steps))),
                     static_cast<C>(1 / std::sqrt(1 - std::pow(rule.beta2, steps))),
                     static_cast<C>(rule.decoupled ? 1 - range.learning_rate * range.weight_decay : 1),
                     static_cast<C>(rule.decoupled ? 0 : range.weight_decay), range.zero_gradient};
    };
    for_ranges<Adam<C>>(ranges, of, [&](const Ranges<Adam<C>>& list, int64_t length) {
      launch(c, "adam_step", adam<T>, thread_each(length), data<T>(value), data<T>(gradient), data<T>(m), data<T>(v),
             list, length, static_cast<C>(transform.scale), static_cast<C>(transform.limit),
             static_cast<C>(1 - rule.beta1), static_cast<C>(rule.beta2), static_cast<C>(1 - rule.beta2),
             static_cast<C>(rule.epsilon));
    });
  });
}

void sum_squares(const Tensor& x, std::span<const FlatRange> ranges, double& total) {
  const Context& c = context(x);
  total = 0;
  visit_stored(x.dtype(), "sum_squares", [&]<class T>(T) {
    const auto none = [](const FlatRange&) { return NoRule(); };
    for_ranges<NoRule>(ranges, none, [&](const Ranges<NoRule>& list, int64_t length) {
      const int64_t blocks = ceil_div(length, kSquares);
      if (blocks == 0) return;
      const Scratch scratch(c, static_cast<size_t>(blocks + 1) * sizeof(double));
      auto* sums = scratch.data<double>();
      launch(c, "sum_squares", squares<T>, Grid{blocks, 256}, data<T>(x), list, length, sums);
      launch(c, "sum_squares", add_up, Grid{1, 256}, sums, blocks, sums + blocks);
      double part = 0;
      ATTUNE_CUDA(cudaMemcpyAsync(&part, sums + blocks, sizeof(part), cudaMemcpyDeviceToHost, c.stream));
      ATTUNE_CUDA(cudaStreamSynchronize(c.stream));
      total += part;
    });
  });
}

void move_average(const Tensor& x, double weight, Tensor& average) {
  visit_stored(x.dtype(), "move_average", [&]<class T>(T) {
    launch(context(x), "move_average", move_towards<T>, thread_each(x.numel()), data<T>(x),
           static_cast<Compute<T>>(weight), data<T>(average), x.numel());
  });
}

void exchange(Tensor& a, Tensor& b) {
  visit_stored(a.dtype(), "exchange", [&]<class T>(T) {
    launch(context(a), "exchange", swap_elements<T>, thread_each(a.numel()), data<T>(a), data<T>(b), a.numel());
  });
}

}  // namespace attune::cuda
