#include "framework/kernels/cuda/find.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/packed.h"
#include "framework/kernels/cuda/team.cuh"
#include "framework/kernels/index.h"

namespace attune::cuda {
namespace {

/// A team for every line (o, i) of y.
template <class Team, class T>
__global__ void take(const T* x, const int64_t* indices, int64_t n, int64_t m, int64_t row, Compute<T> scale, T* y,
                     int64_t lines) {
  const int64_t line = Team::row();
  if (line >= lines) return;
  const T* from = x + (line / m * n + indices[line % m]) * row;
  T* to = y + line * row;
  for (int64_t j = Team::rank(); j < row; j += Team::kSize) to[j] = store<T>(load(from[j]) * scale);
}

/// The same of any element, unscaled: a thread for every element of y. U: an unsigned integer of its size.
template <class U>
__global__ void move_rows(const U* x, const int64_t* indices, int64_t n, int64_t m, int64_t row, U* y, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t line = at / row;
  y[at] = x[(line / m * n + indices[line % m]) * row + at % row];
}

constexpr int kAddThreads = 128;

constexpr int kAddColumns = 4;  ///< of a thread at a time

/// A block for every line (o, i) of dy. The first line with an index adds up all lines with it, in their order: sums
/// are the same in every run, and no two blocks touch the same row. Some hundred columns at a time, whose sums stay in
/// registers; those of more than kAddThreads lines are made of partial ones.
template <class T>
__global__ void add(const T* dy, const int64_t* indices, int64_t n, int64_t m, int64_t row, Compute<T> scale,
                    int64_t skip, T* dx) {
  const int64_t outer = blockIdx.x / m;
  const int64_t i = blockIdx.x % m;
  const int64_t index = indices[i];
  if (index == skip) return;
  for (int64_t begin = 0; begin < i; begin += kAddThreads) {
    const int64_t j = begin + threadIdx.x;
    if (__syncthreads_or(j < i && indices[j] == index)) return;
  }
  __shared__ int64_t same[kAddThreads];
  __shared__ int counts[kAddThreads / 32];
  T* to = dx + (outer * n + index) * row;
  for (int64_t first = 0; first < row; first += kAddColumns * kAddThreads) {
    double sums[kAddColumns];
    const auto for_each = [&](const auto& f) {
#pragma unroll
      for (int c = 0; c < kAddColumns; ++c) {
        const int64_t column = first + c * kAddThreads + threadIdx.x;
        if (column < row) f(column, sums[c]);
      }
    };
    for_each([&](int64_t column, double& sum) { sum = static_cast<double>(load(to[column])); });
    for (int64_t begin = i; begin < m; begin += kAddThreads) {
      // Of these lines, those with the index, in order.
      const int64_t j = begin + threadIdx.x;
      const bool hit = j < m && indices[j] == index;
      const unsigned hits = __ballot_sync(~0u, hit);
      const unsigned lane = threadIdx.x % 32;
      const unsigned warp = threadIdx.x / 32;
      if (lane == 0) counts[warp] = __popc(hits);
      __syncthreads();
      int before = 0;
      int total = 0;
      for (unsigned w = 0; w < kAddThreads / 32; ++w) {
        before += w < warp ? counts[w] : 0;
        total += counts[w];
      }
      if (hit) same[before + __popc(hits & ((1u << lane) - 1))] = j;
      __syncthreads();
      if (total > 0) {
        for_each([&](int64_t column, double& sum) {
          Compute<T> part = 0;
          for (int k = 0; k < total; ++k) part += load(dy[(outer * m + same[k]) * row + column]) * scale;
          sum += static_cast<double>(part);
        });
      }
      __syncthreads();
    }
    for_each([&](int64_t column, double& sum) { to[column] = store<T>(static_cast<Compute<T>>(sum)); });
  }
}

/// A thread for every element of y.
template <class T>
__global__ void take_elements(const T* x, const int64_t* indices, int64_t n, int64_t m, int64_t inner, T* y,
                              int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at < count) y[at] = x[(at / (m * inner) * n + indices[at]) * inner + at % inner];
}

/// A thread for every (o, k), whose indices point at nobody else's elements: the last of equal ones stays.
template <class U>
__global__ void put_elements(const U* x, const int64_t* indices, int64_t n, int64_t m, int64_t inner, U* y,
                             int64_t columns) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= columns) return;
  const int64_t outer = at / inner;
  const int64_t k = at % inner;
  for (int64_t i = 0; i < m; ++i) {
    const int64_t from = (outer * m + i) * inner + k;
    y[(outer * n + indices[from]) * inner + k] = x[from];
  }
}

/// f(U{}) with an unsigned integer of the element's size: moving needs no arithmetic.
template <class F>
void visit_bits(DType dtype, F&& f) {
  switch (dtype_size(dtype)) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    default:
      return f(uint64_t{});
  }
}

/// A thread for every (o, k): its indices point at nobody else's elements. Sum: of the elements of `to`.
template <class T, class Sum>
__global__ void add_elements(const T* dy, const int64_t* indices, int64_t n, int64_t m, int64_t inner, Sum* to,
                             int64_t columns) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= columns) return;
  const int64_t outer = at / inner;
  const int64_t k = at % inner;
  for (int64_t i = 0; i < m; ++i) {
    const int64_t from = (outer * m + i) * inner + k;
    Sum& sum = to[(outer * n + indices[from]) * inner + k];
    sum = store<Sum>(load(sum) + static_cast<Compute<Sum>>(load(dy[from])));
  }
}

/// dx += sums
template <class T>
__global__ void add_sums(const double* sums, T* dx, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at < count) dx[at] = store<T>(static_cast<Compute<T>>(static_cast<double>(load(dx[at])) + sums[at]));
}

struct Outside {
  const int64_t* indices;
  int64_t bound;
  __device__ bool operator()(int64_t i) const {
    return static_cast<uint64_t>(indices[i]) >= static_cast<uint64_t>(bound);
  }
};

}  // namespace

void take_rows(const Tensor& x, const Tensor& indices, double scale, Tensor& y) {
  const Context& c = context(y);
  const Packed from(c, x);
  const int64_t m = indices.numel(), row = x.dim(2);
  const int64_t lines = x.dim(0) * m;
  if (!is_floating(x.dtype())) {
    return visit_bits(x.dtype(), [&]<class U>(U) {
      launch(c, "take_rows", move_rows<U>, thread_each(y.numel()), from.data<U>(), data<int64_t>(indices), x.dim(1), m,
             row, data<U>(y), y.numel());
    });
  }
  visit_stored(x.dtype(), "take_rows", [&]<class T>(T) {
    visit_team(lines, row, [&]<class Team>(Team, const Grid& grid) {
      launch(c, "take_rows", take<Team, T>, grid, from.data<T>(), data<int64_t>(indices), x.dim(1), m, row,
             static_cast<Compute<T>>(scale), data<T>(y), lines);
    });
  });
}

void add_rows(const Tensor& dy, const Tensor& indices, double scale, int64_t skip, Tensor& dx) {
  const int64_t m = indices.numel();
  visit_stored(dy.dtype(), "add_rows", [&]<class T>(T) {
    launch(context(dx), "add_rows", add<T>, Grid{dy.dim(0) * m, kAddThreads}, data<T>(dy), data<int64_t>(indices),
           dx.dim(1), m, dy.dim(2), static_cast<Compute<T>>(scale), skip, data<T>(dx));
  });
}

void take_along(const Tensor& x, const Tensor& indices, Tensor& y) {
  const Context& c = context(y);
  const Packed from(c, x);
  visit_bits(x.dtype(), [&]<class U>(U) {
    launch(c, "take_along", take_elements<U>, thread_each(y.numel()), from.data<U>(), data<int64_t>(indices), x.dim(1),
           indices.dim(1), x.dim(2), data<U>(y), y.numel());
  });
}

void put_along(const Tensor& x, const Tensor& indices, Tensor& y) {
  const int64_t columns = y.dim(0) * y.dim(2);
  visit_bits(x.dtype(), [&]<class U>(U) {
    launch(context(y), "put_along", put_elements<U>, thread_each(columns), data<U>(x), data<int64_t>(indices), y.dim(1),
           indices.dim(1), y.dim(2), data<U>(y), columns);
  });
}

void add_along(const Tensor& dy, const Tensor& indices, Tensor& dx) {
  const int64_t columns = dy.dim(0) * dx.dim(2);
  const Context& c = context(dx);
  if (dy.dtype() == DType::kInt64) {
    return launch(c, "add_along", add_elements<int64_t, int64_t>, thread_each(columns), data<int64_t>(dy),
                  data<int64_t>(indices), dx.dim(1), indices.dim(1), dx.dim(2), data<int64_t>(dx), columns);
  }
  visit_stored(dy.dtype(), "add_along", [&]<class T>(T) {
    const auto add_to = [&](auto* to) {
      launch(c, "add_along", add_elements<T, std::remove_pointer_t<decltype(to)>>, thread_each(columns), data<T>(dy),
             data<int64_t>(indices), dx.dim(1), indices.dim(1), dx.dim(2), to, columns);
    };
    constexpr int64_t kFew = 128;
    if (indices.dim(1) <= kFew) return add_to(data<T>(dx));
    // An element may gather many: their sum is made apart, in double precision.
    const Scratch scratch(c, static_cast<size_t>(dx.numel()) * sizeof(double));
    auto* sums = scratch.data<double>();
    ATTUNE_CUDA(cudaMemsetAsync(sums, 0, static_cast<size_t>(dx.numel()) * sizeof(double), c.stream));
    add_to(sums);
    launch(c, "add_along", add_sums<T>, thread_each(dx.numel()), sums, data<T>(dx), dx.numel());
  });
}

void find_outside(const Tensor& indices, int64_t bound, int64_t& position) {
  position = find_first(context(indices), "find_outside", Outside{data<int64_t>(indices), bound}, indices.numel());
}

}  // namespace attune::cuda
