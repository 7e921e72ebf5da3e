#include "framework/kernels/cuda/softmax.cuh"
#include "framework/kernels/top_k.h"

namespace attune::cuda {
namespace {

/// NaN is above everything.
template <class C>
__device__ bool above(C a, C b) {
  return a > b || (a != a && b == b);
}

/// The better of two elements: the larger, or the first of equals.
template <class C>
struct Candidate {
  C value = minus_infinity<C>();
  int64_t index = INT64_MAX;

  __device__ Candidate() {}
  __device__ Candidate(C v, int64_t i) : value(v), index(i) {}

  /// Behind `last` in the order that is looked for.
  __device__ bool behind(const Candidate& last) const {
    return above(last.value, value) || (!above(value, last.value) && index > last.index);
  }
  __device__ static Candidate better(const Candidate& a, const Candidate& b) {
    return above(a.value, b.value) || (!above(b.value, a.value) && a.index < b.index) ? a : b;
  }
  __device__ Candidate shuffled(int step) const {
    Candidate out;
    out.value = __shfl_xor_sync(~0u, value, step);
    out.index = __shfl_xor_sync(~0u, index, step);
    return out;
  }
};

/// A team for every row; it is read once for each of the k places, which are few.
template <class Team, class T>
__global__ void select_rows(const T* x, int64_t rows, int64_t n, int64_t k, T* values, int64_t* indices) {
  using C = Compute<T>;
  const int64_t row = Team::row();
  if (row >= rows) return;
  x += row * n;
  Candidate<C> last;
  for (int64_t place = 0; place < k; ++place) {
    Candidate<C> best;
    for (int64_t j = Team::rank(); j < n; j += Team::kSize) {
      const Candidate<C> own(load(x[j]), j);
      if (place == 0 || own.behind(last)) best = Candidate<C>::better(best, own);
    }
    last = Team::all(best, Candidate<C>::better);
    if (Team::rank() == 0) {
      values[row * k + place] = store<T>(last.value);
      indices[row * k + place] = last.index;
    }
  }
}

/// In double precision, as scale x and the result are otherwise rounded to what numbers as large can tell apart.
template <class Team, class T, class Out>
__global__ void log_sum_rows(const T* x, int64_t rows, int64_t n, double scale, Out* y) {
  const int64_t row = Team::row();
  if (row >= rows) return;
  x += row * n;
  LogSum<double> part;
  for (int64_t j = Team::rank(); j < n; j += Team::kSize) part.add(scale * static_cast<double>(load(x[j])));
  const LogSum<double> all = Team::all(part, LogSum<double>::merged);
  if (Team::rank() == 0) y[row] = store<Out>(all.largest + all.log_sum());
}

}  // namespace

void top_k(const Tensor& x, Tensor& values, Tensor& indices) {
  const int64_t rows = x.shape()[0], n = x.shape()[1], k = values.shape()[1];
  if (rows == 0 || k == 0) return;
  visit_stored(x.dtype(), "top_k", [&]<class T>(T) {
    visit_team(rows, n, [&]<class Team>(Team, const Grid& grid) {
      launch(context(x), "top_k", select_rows<Team, T>, grid, data<T>(x), rows, n, k, data<T>(values),
             data<int64_t>(indices));
    });
  });
}

void log_sum_exp(const Tensor& x, double scale, Tensor& y) {
  const int64_t rows = x.shape()[0], n = x.shape()[1];
  visit_stored(x.dtype(), "log_sum_exp", [&]<class T>(T) {
    visit_team(rows, n, [&]<class Team>(Team, const Grid& grid) {
      const auto run = [&]<class Out>(Out) {
        launch(context(x), "log_sum_exp", log_sum_rows<Team, T, Out>, grid, data<T>(x), rows, n, scale, data<Out>(y));
      };
      y.dtype() == DType::kFloat64 ? run(double{}) : run(T{});
    });
  });
}

}  // namespace attune::cuda
