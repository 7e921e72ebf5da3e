#include <vector>

#include "framework/kernels/cuda/flat_table.h"
#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/team.cuh"
#include "framework/kernels/cuda/transfer.h"
#include "framework/kernels/optim.h"

namespace attune::cuda {
namespace {

/// The ranges of a step in device memory: one launch updates them all.
template <class Rule>
class Table {
 public:
  /// What a kernel looks rows up with.
  struct View {
    const FlatRow<Rule>* rows;
    int count;

    __device__ const Rule& find(int64_t& at) const { return find_row(rows, count, at); }
  };

  template <class MakeRule>
  Table(const Context& c, std::span<const FlatRange> ranges, const MakeRule& rule) : count_(ranges.size()) {
    if (ranges.empty()) return;
    const std::vector<FlatRow<Rule>> rows = flat_table<Rule>(ranges, rule);
    const size_t bytes = rows.size() * sizeof(FlatRow<Rule>);
    length_ = rows.back().end;
    memory_ = Scratch(c, bytes);
    to_device(memory_.template data<std::byte>(), rows.data(), bytes, c.device);
  }

  View view() const {
    return {count_ == 0 ? nullptr : memory_.template data<FlatRow<Rule>>(), static_cast<int>(count_)};
  }
  /// Elements in all ranges.
  int64_t length() const { return length_; }

 private:
  size_t count_;
  int64_t length_ = 0;
  Scratch memory_;
};

/// GradientTransform as kernels see it.
template <class C>
struct Transform {
  C scale, limit;
  const double* scale_there;       ///< instead of `scale` unless nullptr
  unsigned long long* not_finite;  ///< see GradientTransform; as unsigned numbers -1 is the largest

  explicit Transform(const GradientTransform& given)
      : scale(static_cast<C>(given.scale)),
        limit(static_cast<C>(given.limit)),
        scale_there(data<double>(given.scale_there)),
        // An output that is handed over with what a step is to do.
        not_finite(given.not_finite.defined()
                       ? reinterpret_cast<unsigned long long*>(const_cast<int64_t*>(data<int64_t>(given.not_finite)))
                       : nullptr) {}

  __device__ bool skips_step() const { return scale_there != nullptr && isnan(*scale_there); }
  __device__ C operator()(C gradient) const {
    const C g = gradient * (scale_there != nullptr ? static_cast<C>(*scale_there) : scale);
    return g > limit ? limit : g < -limit ? -limit : g;
  }
  /// Element `at` had this gradient and has these results. Costs nothing where all are finite.
  __device__ void check(int64_t at, C gradient, C value, C moment) const {
    if (not_finite == nullptr) return;
    if (!isfinite(gradient)) atomicMin(not_finite, static_cast<unsigned long long>(at));
    if (!isfinite(value) || !isfinite(moment)) atomicMin(not_finite + 1, static_cast<unsigned long long>(at));
  }
};

template <class T>
__global__ void sgd(T* value, T* gradient, T* momentum, typename Table<SgdRow<Compute<T>>>::View table, int64_t length,
                    Transform<Compute<T>> transform, Compute<T> ahead, bool nesterov) {
  using C = Compute<T>;
  int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= length) return;
  const SgdRow<C>& r = table.find(at);
  if (!transform.skips_step()) {
    const C w = load(value[at]);
    const C given = transform(load(gradient[at]));
    C g = given + r.decay * w;
    C b = 0;
    if (momentum != nullptr) {
      b = r.keep * load(momentum[at]) + r.take * g;
      momentum[at] = store<T>(b);
      g = nesterov ? g + ahead * b : b;
    }
    const C next = w - r.rate * g;
    value[at] = store<T>(next);
    transform.check(at, given, next, b);
  }
  if (r.zero_gradient) gradient[at] = store<T>(C(0));
}

template <class T>
__global__ void adam(T* value, T* gradient, T* m, T* v, typename Table<AdamRow<Compute<T>>>::View table, int64_t length,
                     Transform<Compute<T>> transform, Compute<T> take1, Compute<T> keep2, Compute<T> take2,
                     Compute<T> epsilon) {
  using C = Compute<T>;
  int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= length) return;
  const AdamRow<C>& r = table.find(at);
  if (!transform.skips_step()) {
    const C w = load(value[at]);
    const C given = transform(load(gradient[at]));
    const C g = given + r.decay * w;
    const C m0 = load(m[at]);
    const C m1 = m0 + take1 * (g - m0);
    const C v1 = take2 * (g * g) + keep2 * load(v[at]);
    m[at] = store<T>(m1);
    v[at] = store<T>(v1);
    const C next = w * r.shrink - r.rate * m1 / (sqrt(v1) * r.correction + epsilon);
    value[at] = store<T>(next);
    transform.check(at, given, next, v1);
  }
  if (r.zero_gradient) gradient[at] = store<T>(C(0));
}

constexpr int64_t kSquares = 4096;  ///< elements of a block: sums do not depend on the device

struct NoRule {};

/// A block for every 4,096 elements.
template <class T>
__global__ void squares(const T* x, Table<NoRule>::View table, int64_t length, double* sums) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kSquares;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < begin + kSquares && i < length; i += blockDim.x) {
    int64_t at = i;
    table.find(at);
    const auto value = static_cast<double>(load(x[at]));
    sum += value * value;
  }
  sum = Team<256>::sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

/// One block: found[0] = the sum of `sums`; found[1] = index of the first x that is not finite, looked for only where
/// the sum is not.
template <class T>
__global__ void add_up(const double* sums, int64_t blocks, const T* x, Table<NoRule>::View table, int64_t length,
                       double* found) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < blocks; i += blockDim.x) sum += sums[i];
  sum = Team<256>::sum(sum);
  int64_t first = length;
  for (int64_t block = 0; block < blocks && first == length && !isfinite(sum); ++block) {
    if (isfinite(sums[block])) continue;
    const int64_t end = block * kSquares + kSquares;
    for (int64_t i = block * kSquares + threadIdx.x; i < end && i < length; i += blockDim.x) {
      int64_t at = i;
      table.find(at);
      if (!isfinite(load(x[at])) && i < first) first = i;
    }
    first = Team<256>::all(first, [](int64_t a, int64_t b) { return a < b ? a : b; });
  }
  if (threadIdx.x > 0) return;
  found[0] = sum;
  found[1] = -1;
  if (first == length) return;
  table.find(first);
  found[1] = static_cast<double>(first);
}

/// One warp, of which one thread works.
__global__ void clip(double scale, double limit, int64_t rows, double* report) {
  if (threadIdx.x > 0) return;
  double total = 0;
  for (int64_t i = 0; i < rows; ++i) total += report[2 * i];
  const double norm = sqrt(total) * fabs(scale);
  report[2 * rows] = norm;
  report[2 * rows + 1] = isfinite(norm) ? scale * fmin(1.0, limit / (norm + 1e-6)) : nan("");
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
    const Table<SgdRow<C>> table(c, ranges, [&](const FlatRange& range) { return SgdRow<C>(range, rule); });
    launch(c, "sgd_step", sgd<T>, thread_each(table.length()), data<T>(value), data<T>(gradient), data<T>(momentum),
           table.view(), table.length(), Transform<C>(transform), static_cast<C>(rule.momentum), rule.nesterov);
  });
}

void adam_step(Tensor& value, Tensor& gradient, Tensor& m, Tensor& v, std::span<const FlatRange> ranges,
               const GradientTransform& transform, const AdamRule& rule) {
  const Context& c = context(value);
  visit_stored(value.dtype(), "adam_step", [&]<class T>(T) {
    using C = Compute<T>;
    const Table<AdamRow<C>> table(c, ranges, [&](const FlatRange& range) { return AdamRow<C>(range, rule); });
    launch(c, "adam_step", adam<T>, thread_each(table.length()), data<T>(value), data<T>(gradient), data<T>(m),
           data<T>(v), table.view(), table.length(), Transform<C>(transform), static_cast<C>(1 - rule.beta1),
           static_cast<C>(rule.beta2), static_cast<C>(1 - rule.beta2), static_cast<C>(rule.epsilon));
  });
}

void sum_squares(const Tensor& x, std::span<const FlatRange> ranges, Tensor& found) {
  const Context& c = context(x);
  visit_stored(x.dtype(), "sum_squares", [&]<class T>(T) {
    const Table<NoRule> table(c, ranges, [](const FlatRange&) { return NoRule(); });
    const int64_t blocks = ceil_div(table.length(), kSquares);
    const Scratch sums(c, static_cast<size_t>(blocks) * sizeof(double));
    launch(c, "sum_squares", squares<T>, Grid{blocks, 256}, data<T>(x), table.view(), table.length(),
           sums.data<double>());
    launch(c, "sum_squares", add_up<T>, Grid{1, 256}, sums.data<double>(), blocks, data<T>(x), table.view(),
           table.length(), data<double>(found));
  });
}

void clip_by_norm(double scale, double limit, Tensor& report) {
  launch(context(report), "clip_by_norm", clip, Grid{1, 32}, scale, limit, report.dim(0) - 1, data<double>(report));
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
