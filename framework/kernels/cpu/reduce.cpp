#include "framework/kernels/reduce.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "framework/kernels/copy.h"
#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/reduce.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

// Partial sums of the element type take at most so many terms; then they are added up in double precision (along a row)
// or level by level, above all in double precision (down the columns).
constexpr int64_t kBlockVectors = 256;
constexpr int64_t kBlockRows = 128;
constexpr int64_t kSuperBlockRows = 64 * kBlockRows;

template <class T>
double sum_of(const T* x, int64_t n) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  double total = 0;
  for (int64_t i = 0; i < n;) {
    const int64_t end = std::min(n, i + kBlockVectors * lanes);
    auto s0 = hn::Zero(d);
    auto s1 = s0;
    auto s2 = s0;
    auto s3 = s0;
    for (; i + 4 * lanes <= end; i += 4 * lanes) {
      s0 = hn::Add(s0, hn::LoadU(d, x + i));
      s1 = hn::Add(s1, hn::LoadU(d, x + i + lanes));
      s2 = hn::Add(s2, hn::LoadU(d, x + i + 2 * lanes));
      s3 = hn::Add(s3, hn::LoadU(d, x + i + 3 * lanes));
    }
    for (; i + lanes <= end; i += lanes) s0 = hn::Add(s0, hn::LoadU(d, x + i));
    if (i < end) s1 = hn::Add(s1, LoadTail(d, x + i, static_cast<size_t>(end - i)));
    i = end;
    total += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)))));
  }
  return total;
}

// y[c] = scale * sum over r of x[r * row + c] (+ y[c]), V vectors wide.
template <int V, class T>
HWY_INLINE void add_rows(const T* x, int64_t rows, int64_t row, size_t width, T scale, bool accumulate, T* y) {
  const hn::ScalableTag<T> d;
  using Vec = hn::Vec<decltype(d)>;
  const size_t lanes = hn::Lanes(d);
  const auto load = [&](const T* p, int v) HWY_ATTR {
    const T* at = p + static_cast<size_t>(v) * lanes;
    return V > 1 || width == lanes ? hn::LoadU(d, at) : LoadTail(d, at, width);
  };
  Vec total[V];
  for (int v = 0; v < V; ++v) total[v] = hn::Zero(d);
  for (int64_t r = 0; r < rows;) {
    const int64_t end = std::min(rows, r + kBlockRows);
    Vec part[V];
    for (int v = 0; v < V; ++v) part[v] = hn::Zero(d);
    for (; r < end; ++r) {
      for (int v = 0; v < V; ++v) part[v] = hn::Add(part[v], load(x + r * row, v));
    }
    for (int v = 0; v < V; ++v) total[v] = hn::Add(total[v], part[v]);
  }
  for (int v = 0; v < V; ++v) {
    T* at = y + static_cast<size_t>(v) * lanes;
    auto out = hn::Mul(total[v], hn::Set(d, scale));
    if (accumulate) out = hn::Add(out, load(y, v));
    if (V > 1 || width == lanes) {
      hn::StoreU(out, d, at);
    } else {
      StoreTail(out, d, at, width);
    }
  }
}

// The same for any number of rows, `width` columns of at most V vectors.
template <int V, class T>
void add_many_rows(const T* x, int64_t rows, int64_t row, size_t width, T scale, bool accumulate, T* y) {
  const hn::ScalableTag<T> d;
  const size_t vector = V > 1 ? hn::Lanes(d) : width;
  if (rows <= kSuperBlockRows) return add_rows<V>(x, rows, row, vector, scale, accumulate, y);
  constexpr size_t kMost = V * HWY_MAX_BYTES / sizeof(T);
  HWY_ALIGN T part[kMost];
  double total[kMost];
  for (size_t j = 0; j < width; ++j) total[j] = accumulate ? static_cast<double>(y[j]) : 0;
  for (int64_t r = 0; r < rows; r += kSuperBlockRows) {
    add_rows<V>(x + r * row, std::min(kSuperBlockRows, rows - r), row, vector, scale, false, part);
    for (size_t j = 0; j < width; ++j) total[j] += static_cast<double>(part[j]);
  }
  for (size_t j = 0; j < width; ++j) y[j] = static_cast<T>(total[j]);
}

template <class T>
void sum_rows(const T* x, int64_t rows, int64_t row, int64_t columns, T scale, bool accumulate, T* y) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + 4 * lanes <= columns; c += 4 * lanes) {
    add_many_rows<4>(x + c, rows, row, static_cast<size_t>(4 * lanes), scale, accumulate, y + c);
  }
  for (; c < columns; c += lanes) {
    add_many_rows<1>(x + c, rows, row, static_cast<size_t>(std::min(lanes, columns - c)), scale, accumulate, y + c);
  }
}

double sum_float(const float* x, int64_t n) { return sum_of(x, n); }
double sum_double(const double* x, int64_t n) { return sum_of(x, n); }
void sum_rows_float(const float* x, int64_t rows, int64_t row, int64_t columns, float scale, bool accumulate,
                    float* y) {
  sum_rows(x, rows, row, columns, scale, accumulate, y);
}
void sum_rows_double(const double* x, int64_t rows, int64_t row, int64_t columns, double scale, bool accumulate,
                     double* y) {
  sum_rows(x, rows, row, columns, scale, accumulate, y);
}

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(sum_float);
HWY_EXPORT(sum_double);
HWY_EXPORT(sum_rows_float);
HWY_EXPORT(sum_rows_double);

namespace {

constexpr int64_t kGrain = 16384;
constexpr int64_t kColumnBlock = 64;

double sum_of(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(sum_float)(x, n); }
double sum_of(const double* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(sum_double)(x, n); }
void sum_rows(const float* x, int64_t rows, int64_t row, int64_t columns, double scale, bool accumulate, float* y) {
  HWY_DYNAMIC_DISPATCH(sum_rows_float)(x, rows, row, columns, static_cast<float>(scale), accumulate, y);
}
void sum_rows(const double* x, int64_t rows, int64_t row, int64_t columns, double scale, bool accumulate, double* y) {
  HWY_DYNAMIC_DISPATCH(sum_rows_double)(x, rows, row, columns, scale, accumulate, y);
}

// A few nested axes, walked in row-major order.
struct Axes {
  int rank = 0;
  std::array<int64_t, Shape::kMaxRank> extent{};
  std::array<int64_t, Shape::kMaxRank> stride{};

  void push(int64_t e, int64_t s) {
    extent[static_cast<size_t>(rank)] = e;
    stride[static_cast<size_t>(rank)] = s;
    ++rank;
  }
  int64_t count() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= extent[static_cast<size_t>(i)];
    return n;
  }
  int64_t offset(int64_t index) const {
    int64_t at = 0;
    for (auto i = static_cast<size_t>(rank); i-- > 0;) {
      const int64_t own = i == 0 ? index : index % extent[i];
      if (i > 0) index /= extent[i];
      at += own * stride[i];
    }
    return at;
  }
};

// A contiguous tensor as alternating groups of reduced and kept axes: the last group by itself, those before it by
// kind.
struct Reduction {
  Axes kept;
  Axes reduced;
  int64_t last = 1;
  bool last_reduced = false;

  Reduction(const Shape& x, const Shape& y) {
    struct Group {
      int64_t extent;
      bool reduced;
    };
    std::array<Group, Shape::kMaxRank> groups;
    size_t n = 0;
    for (int axis = 0; axis < x.rank(); ++axis) {
      if (x[axis] == 1) continue;
      const int own = axis - (x.rank() - y.rank());
      const bool is_reduced = own < 0 || y[own] == 1;
      if (n > 0 && groups[n - 1].reduced == is_reduced) {
        groups[n - 1].extent *= x[axis];
      } else {
        groups[n++] = {x[axis], is_reduced};
      }
    }
    if (n == 0) return;
    last = groups[n - 1].extent;
    last_reduced = groups[n - 1].reduced;
    int64_t stride = x.numel();
    for (size_t i = 0; i + 1 < n; ++i) {
      stride /= groups[i].extent;
      (groups[i].reduced ? reduced : kept).push(groups[i].extent, stride);
    }
  }
};

// Sums whose innermost axis is reduced: runs of `last` elements.
template <class T>
void sum_inner(const T* x, const Reduction& r, T* y) {
  const int64_t outputs = r.kept.count();
  const int64_t runs = r.reduced.count();
  if (outputs >= num_threads() || runs * r.last < 2 * kGrain) {
    const int64_t grain = std::max<int64_t>(1, kGrain / (runs * r.last));
    parallel_for(outputs, grain, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t o = begin; o < end; ++o) {
        const T* from = x + r.kept.offset(o);
        double total = 0;
        for (int64_t k = 0; k < runs; ++k) total += sum_of(from + r.reduced.offset(k), r.last);
        y[o] = static_cast<T>(total);
      }
    });
    return;
  }
  // Few long sums: the threads share each.
  const bool split_runs = runs > 1;
  const int64_t items = split_runs ? runs : r.last;
  const int64_t chunks = detail::chunk_count(items, split_runs ? std::max<int64_t>(1, kGrain / r.last) : kGrain);
  auto* partial = scratch<double>(0, chunks);
  for (int64_t o = 0; o < outputs; ++o) {
    const T* from = x + r.kept.offset(o);
    parallel_tasks(chunks, [&](int64_t chunk) {
      const int64_t begin = items * chunk / chunks;
      const int64_t end = items * (chunk + 1) / chunks;
      if (!split_runs) {
        partial[chunk] = sum_of(from + begin, end - begin);
        return;
      }
      double total = 0;
      for (int64_t k = begin; k < end; ++k) total += sum_of(from + r.reduced.offset(k), r.last);
      partial[chunk] = total;
    });
    double total = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) total += partial[chunk];
    y[o] = static_cast<T>(total);
  }
}

// Sums whose innermost axis, of `last` elements, is kept: rows are added up.
template <class T>
void sum_outer(const T* x, const Reduction& r, T* y) {
  // The group before the last one is reduced: its rows follow each other.
  Axes outer = r.reduced;
  const auto innermost = static_cast<size_t>(--outer.rank);
  const int64_t rows = outer.extent[innermost];
  const int64_t runs = outer.count();
  const int64_t blocks = (r.last + kColumnBlock - 1) / kColumnBlock;
  const int64_t outputs = r.kept.count();
  if (outputs == 1 && blocks < num_threads() && rows * r.last >= 2 * kGrain) {
    const int64_t chunks = detail::chunk_count(rows, std::max<int64_t>(1, kGrain / r.last));
    auto* partial = scratch<T>(0, chunks * r.last);
    parallel_tasks(chunks, [&](int64_t chunk) {
      const int64_t begin = rows * chunk / chunks;
      const int64_t end = rows * (chunk + 1) / chunks;
      sum_rows(x + begin * r.last, end - begin, r.last, r.last, 1, false, partial + chunk * r.last);
    });
    sum_rows(partial, chunks, r.last, r.last, 1, false, y);
    return;
  }
  const int64_t work = runs * rows * std::min(r.last, kColumnBlock);
  parallel_for(outputs * blocks, std::max<int64_t>(1, kGrain / work), [&](int64_t begin, int64_t end, int64_t) {
    while (begin < end) {
      const int64_t o = begin / blocks;
      const int64_t stop = std::min(end, (o + 1) * blocks);
      const int64_t column = (begin - o * blocks) * kColumnBlock;
      const int64_t columns = std::min(r.last, (stop - o * blocks) * kColumnBlock) - column;
      const T* from = x + r.kept.offset(o) + column;
      T* to = y + o * r.last + column;
      for (int64_t k = 0; k < runs; ++k) {
        sum_rows(from + outer.offset(k), rows, r.last, columns, 1, k > 0, to);
      }
      begin = stop;
    }
  });
}

template <class T>
void sum_contiguous(const Tensor& x, Tensor& y) {
  T* to = y.data<T>();
  const T* from = x.data<T>();
  if (x.numel() == 0) {
    std::fill_n(to, y.numel(), T{0});
    return;
  }
  const Reduction r(x.shape(), y.shape());
  if (r.last_reduced) {
    sum_inner(from, r, to);
  } else if (r.reduced.rank > 0) {
    sum_outer(from, r, to);
  } else {
    std::copy_n(from, x.numel(), to);
  }
}

}  // namespace

void sum_to(const Tensor& x, Tensor& y) {
  const Tensor from = x.contiguous();
  visit_floating(x.dtype(), "sum_to", [&]<class T>(T) { sum_contiguous<T>(from, y); });
}

void masked_mean(const Tensor& x, const Tensor& lengths, Tensor& y) {
  const Tensor from = x.contiguous();
  const auto* length = lengths.data<int64_t>();
  const int64_t steps = x.dim(1);
  const int64_t width = x.dim(2);
  visit_floating(x.dtype(), "masked_mean", [&]<class T>(T) {
    const T* data = from.data<T>();
    T* out = y.data<T>();
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, steps * width));
    parallel_for(x.dim(0), grain, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t b = begin; b < end; ++b) {
        const double scale = length[b] > 0 ? 1.0 / static_cast<double>(length[b]) : 0.0;
        sum_rows(data + b * steps * width, length[b], width, width, scale, false, out + b * width);
      }
    });
  });
}

void masked_mean_backward(const Tensor& dy, const Tensor& lengths, Tensor& dx) {
  const Tensor from = dy.contiguous();
  const auto* length = lengths.data<int64_t>();
  const int64_t steps = dx.dim(1);
  const int64_t width = dx.dim(2);
  visit_floating(dx.dtype(), "masked_mean_backward", [&]<class T>(T) {
    const T* data = from.data<T>();
    T* out = dx.data<T>();
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width));
    parallel_for(dx.dim(0) * steps, grain, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t b = row / steps;
        T* to = out + row * width;
        if (row % steps < length[b]) {
          const T scale = T{1} / static_cast<T>(length[b]);
          for (int64_t c = 0; c < width; ++c) to[c] = data[b * width + c] * scale;
        } else {
          std::fill_n(to, width, T{0});
        }
      }
    });
  });
}

}  // namespace attune::cpu
#endif
