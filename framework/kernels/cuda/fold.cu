#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/packed.h"
#include "framework/kernels/cuda/team.cuh"
#include "framework/kernels/fold.h"
#include "framework/kernels/integer.h"

namespace attune::cuda {
namespace {

/// f(T{}) for what is added up and multiplied.
template <class F>
void visit_numbers(DType dtype, const char* who, F&& f) {
  if (dtype == DType::kInt64) return f(int64_t{});
  visit_stored(dtype, who, f);
}

/// What many elements of T are added up and multiplied in.
template <class T>
using Total = std::conditional_t<std::is_integral_v<T>, int64_t, double>;

template <bool kProduct, class V>
__device__ V combined(V a, V b) {
  if constexpr (std::is_same_v<V, int64_t>) {
    return kProduct ? integers::mul(a, b) : integers::add(a, b);
  } else {
    return kProduct ? a * b : a + b;
  }
}

/// A team for every (o, i).
template <class Team, bool kProduct, class T, class Out>
__global__ void fold(const T* x, int64_t n, int64_t inner, Out* y, int64_t count) {
  const int64_t k = Team::row();
  if (k >= count) return;
  const T* column = x + k / inner * n * inner + k % inner;
  Total<T> own = kProduct ? 1 : 0;
  for (int64_t i = Team::rank(); i < n; i += Team::kSize) {
    own = combined<kProduct>(own, static_cast<Total<T>>(load(column[i * inner])));
  }
  own = Team::all(own, [](Total<T> a, Total<T> b) { return combined<kProduct>(a, b); });
  if (Team::rank() == 0) y[k] = store<Out>(own);
}

template <bool kProduct, class T, class Out>
void fold_all(const char* who, const Tensor& x, Tensor& y) {
  const Context& c = context(y);
  const Packed from(c, x);
  visit_team(y.numel(), x.dim(1), [&]<class Team>(Team, const Grid& grid) {
    launch(c, who, fold<Team, kProduct, T, Out>, grid, from.data<T>(), x.dim(1), x.dim(2), data<Out>(y), y.numel());
  });
}

constexpr int kScanThreads = 256;

/// A warp for every (o, i), 32 elements at a time.
template <bool kProduct, class T>
__global__ void scan(const T* x, int64_t n, int64_t inner, bool reverse, T* y, int64_t columns) {
  const int64_t k = static_cast<int64_t>(blockIdx.x) * (kScanThreads / 32) + threadIdx.x / 32;
  if (k >= columns) return;
  const int64_t column = k / inner * n * inner + k % inner;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const Total<T> nothing = kProduct ? 1 : 0;
  Total<T> before = nothing;
  for (int64_t begin = 0; begin < n; begin += 32) {
    const int64_t i = begin + lane;
    const int64_t at = column + (reverse ? n - 1 - i : i) * inner;
    Total<T> value = i < n ? static_cast<Total<T>>(load(x[at])) : nothing;
    for (int step = 1; step < 32; step *= 2) {
      const Total<T> earlier = __shfl_up_sync(~0u, value, static_cast<unsigned>(step));
      if (lane >= step) value = combined<kProduct>(earlier, value);
    }
    value = combined<kProduct>(before, value);
    if (i < n) y[at] = store<T>(value);
    before = __shfl_sync(~0u, value, 31);
  }
}

template <bool kProduct>
void scan_all(const Tensor& x, bool reverse, Tensor& y) {
  const Context& c = context(y);
  const Packed from(c, x);
  const int64_t columns = x.dim(0) * x.dim(2);
  visit_numbers(x.dtype(), "cumulate", [&]<class T>(T) {
    launch(c, "cumulate", scan<kProduct, T>, Grid{ceil_div(columns, kScanThreads / 32), kScanThreads}, from.data<T>(),
           x.dim(1), x.dim(2), reverse, data<T>(y), columns);
  });
}

/// A thread for every (o, i).
template <bool kSmallest, class T>
__global__ void extreme(const T* x, int64_t n, int64_t inner, T* y, int64_t* index, int64_t count) {
  const int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k >= count) return;
  const T* column = x + k / inner * n * inner + k % inner;
  Compute<T> best = load(column[0]);
  int64_t at = 0;
  for (int64_t i = 1; i < n; ++i) {
    const Compute<T> value = load(column[i * inner]);
    if ((kSmallest ? value < best : value > best) || (value != value && best == best)) {
      best = value;
      at = i;
    }
  }
  y[k] = column[at * inner];
  index[k] = at;
}

template <bool kSmallest>
void find_extreme(const char* who, const Tensor& x, Tensor& y, Tensor& index) {
  const Context& c = context(y);
  const Packed from(c, x);
  visit_numbers(x.dtype(), who, [&]<class T>(T) {
    launch(c, who, extreme<kSmallest, T>, thread_each(y.numel()), from.data<T>(), x.dim(1), x.dim(2), data<T>(y),
           data<int64_t>(index), y.numel());
  });
}

}  // namespace

void max(const Tensor& x, Tensor& y, Tensor& index) { find_extreme<false>("max", x, y, index); }

void min(const Tensor& x, Tensor& y, Tensor& index) { find_extreme<true>("min", x, y, index); }

void product(const Tensor& x, Tensor& y) {
  visit_numbers(x.dtype(), "product", [&]<class T>(T) { fold_all<true, T, T>("product", x, y); });
}

void sum_integers(const Tensor& x, Tensor& y) {
  x.dtype() == DType::kBool ? fold_all<false, bool, int64_t>("sum_integers", x, y)
                            : fold_all<false, int64_t, int64_t>("sum_integers", x, y);
}

void cumulate(const Tensor& x, bool product, bool reverse, Tensor& y) {
  product ? scan_all<true>(x, reverse, y) : scan_all<false>(x, reverse, y);
}

}  // namespace attune::cuda
