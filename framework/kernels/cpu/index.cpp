#include "framework/kernels/index.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "framework/kernels/copy.h"
#include "framework/kernels/cpu/column_sums.h"
#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/index.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

// y = scale * x or y += scale * x
template <bool kAdd, class T>
HWY_INLINE void scale_row(const T* x, T scale, int64_t n, T* y) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto factor = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto value = hn::Mul(hn::LoadU(d, x + i), factor);
    hn::StoreU(kAdd ? hn::Add(hn::LoadU(d, y + i), value) : value, d, y + i);
  }
  for (; i < n; ++i) y[i] = (kAdd ? y[i] : T{0}) + scale * x[i];
}

template <class T>
void take_range(const T* x, const int64_t* indices, int64_t begin, int64_t end, int64_t row, T scale, T* y) {
  for (int64_t i = begin; i < end; ++i) scale_row<false>(x + indices[i] * row, scale, row, y + i * row);
}

template <class T>
void add_range(const T* dy, const int64_t* indices, int64_t m, int64_t row, int64_t columns, T scale, int64_t skip,
               T* dx) {
  for (int64_t i = 0; i < m; ++i) {
    if (indices[i] != skip) scale_row<true>(dy + i * row, scale, columns, dx + indices[i] * row);
  }
}

// sum += scale * the rows of dy that are listed
template <class T>
void add_listed(const T* dy, const int64_t* list, int64_t m, int64_t row, int64_t columns, T scale, T* sum) {
  for (int64_t i = 0; i < m; ++i) scale_row<true>(dy + list[i] * row, scale, columns, sum);
}

void take_range_float(const float* x, const int64_t* indices, int64_t begin, int64_t end, int64_t row, double scale,
                      float* y) {
  take_range(x, indices, begin, end, row, static_cast<float>(scale), y);
}
void take_range_double(const double* x, const int64_t* indices, int64_t begin, int64_t end, int64_t row, double scale,
                       double* y) {
  take_range(x, indices, begin, end, row, scale, y);
}
void add_range_float(const float* dy, const int64_t* indices, int64_t m, int64_t row, int64_t columns, double scale,
                     int64_t skip, float* dx) {
  add_range(dy, indices, m, row, columns, static_cast<float>(scale), skip, dx);
}
void add_range_double(const double* dy, const int64_t* indices, int64_t m, int64_t row, int64_t columns, double scale,
                      int64_t skip, double* dx) {
  add_range(dy, indices, m, row, columns, scale, skip, dx);
}
void add_listed_float(const float* dy, const int64_t* list, int64_t m, int64_t row, int64_t columns, double scale,
                      float* sum) {
  add_listed(dy, list, m, row, columns, static_cast<float>(scale), sum);
}
void add_listed_double(const double* dy, const int64_t* list, int64_t m, int64_t row, int64_t columns, double scale,
                       double* sum) {
  add_listed(dy, list, m, row, columns, scale, sum);
}

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(take_range_float);
HWY_EXPORT(take_range_double);
HWY_EXPORT(add_range_float);
HWY_EXPORT(add_range_double);
HWY_EXPORT(add_listed_float);
HWY_EXPORT(add_listed_double);

namespace {

constexpr int64_t kGrain = 8192;

void take_range(const float* x, const int64_t* indices, int64_t begin, int64_t end, int64_t row, double scale,
                float* y) {
  HWY_DYNAMIC_DISPATCH(take_range_float)(x, indices, begin, end, row, scale, y);
}
void take_range(const double* x, const int64_t* indices, int64_t begin, int64_t end, int64_t row, double scale,
                double* y) {
  HWY_DYNAMIC_DISPATCH(take_range_double)(x, indices, begin, end, row, scale, y);
}
void add_range(const float* dy, const int64_t* indices, int64_t m, int64_t row, int64_t columns, double scale,
               int64_t skip, float* dx) {
  HWY_DYNAMIC_DISPATCH(add_range_float)(dy, indices, m, row, columns, scale, skip, dx);
}
void add_range(const double* dy, const int64_t* indices, int64_t m, int64_t row, int64_t columns, double scale,
               int64_t skip, double* dx) {
  HWY_DYNAMIC_DISPATCH(add_range_double)(dy, indices, m, row, columns, scale, skip, dx);
}
void add_listed(const float* dy, const int64_t* list, int64_t m, int64_t row, int64_t columns, double scale,
                float* sum) {
  HWY_DYNAMIC_DISPATCH(add_listed_float)(dy, list, m, row, columns, scale, sum);
}
void add_listed(const double* dy, const int64_t* list, int64_t m, int64_t row, int64_t columns, double scale,
                double* sum) {
  HWY_DYNAMIC_DISPATCH(add_listed_double)(dy, list, m, row, columns, scale, sum);
}

// f(U{}) with an unsigned integer of the element's size: moving needs no arithmetic.
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

template <class U>
const U* bits(const Tensor& x) {
  return reinterpret_cast<const U*>(x.raw());
}
template <class U>
U* bits(Tensor& x) {
  return reinterpret_cast<U*>(x.raw());
}

int64_t rows_per_grain(int64_t row) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, row)); }

/// Positions 0 ... m - 1 by the index that stands there, 0 <= index < n, those of one index in their order: a radix
/// sort from the lowest byte on. In memory of the calling thread.
const int64_t* sorted_positions(const int64_t* indices, int64_t m, int64_t n) {
  constexpr int kBits = 8;
  constexpr size_t kBuckets = size_t{1} << kBits;
  int64_t* from = scratch<int64_t>(0, 2 * m);
  int64_t* to = from + m;
  std::iota(from, from + m, int64_t{0});
  for (int shift = 0; shift == 0 || (n - 1) >> shift > 0; shift += kBits) {
    std::array<int64_t, kBuckets> begins{};
    const auto bucket = [&](int64_t position) {
      return static_cast<size_t>(indices[position] >> shift) & (kBuckets - 1);
    };
    for (int64_t i = 0; i < m; ++i) ++begins[bucket(i)];
    std::exclusive_scan(begins.begin(), begins.end(), begins.begin(), int64_t{0});
    for (int64_t i = 0; i < m; ++i) to[begins[bucket(from[i])]++] = from[i];
    std::swap(from, to);
  }
  return from;
}

/// What add_rows() does with `columns` of the columns, where an index may stand in many rows: blocks of them are summed
/// up apart. positions: sorted by index.
template <class T>
void add_sorted(const T* dy, const int64_t* indices, const int64_t* positions, int64_t m, int64_t row, int64_t columns,
                double scale, int64_t skip, T* dx) {
  auto* total = scratch<double>(1, columns);
  auto* part = scratch<T>(2, columns);
  for (int64_t begin = 0; begin < m;) {
    const int64_t index = indices[positions[begin]];
    int64_t end = begin + 1;
    while (end < m && indices[positions[end]] == index) ++end;
    T* to = dx + index * row;
    if (index != skip && end - begin <= kSumRows) {
      add_listed(dy, positions + begin, end - begin, row, columns, scale, to);
    } else if (index != skip) {
      std::copy_n(to, columns, total);
      std::fill_n(part, columns, T{0});
      ColumnSums<T> sums{part, total, columns};
      for (int64_t i = begin; i < end; i += kSumRows) {
        add_listed(dy, positions + i, std::min(kSumRows, end - i), row, columns, scale, part);
        sums.flush();
      }
      for (int64_t j = 0; j < columns; ++j) to[j] = static_cast<T>(total[j]);
    }
    begin = end;
  }
}

}  // namespace

void take_rows(const Tensor& x, const Tensor& indices, double scale, Tensor& y) {
  const Tensor from = x.contiguous();
  const auto* index = indices.data<int64_t>();
  const int64_t m = indices.numel();
  const int64_t row = x.dim(2);
  if (!is_floating(x.dtype())) {
    visit_bits(x.dtype(), [&]<class U>(U) {
      const U* data = bits<U>(from);
      U* out = bits<U>(y);
      parallel_for(x.dim(0) * m, rows_per_grain(row), [&](int64_t begin, int64_t end, int64_t) {
        for (int64_t i = begin; i < end; ++i) {
          std::copy_n(data + (i / m * x.dim(1) + index[i % m]) * row, row, out + i * row);
        }
      });
    });
    return;
  }
  visit_floating(x.dtype(), "take_rows", [&]<class T>(T) {
    for (int64_t o = 0; o < x.dim(0); ++o) {
      const T* data = from.data<T>() + o * x.dim(1) * row;
      T* out = y.data<T>() + o * m * row;
      parallel_for(m, rows_per_grain(row),
                   [&](int64_t begin, int64_t end, int64_t) { take_range(data, index, begin, end, row, scale, out); });
    }
  });
}

void add_rows(const Tensor& dy, const Tensor& indices, double scale, int64_t skip, Tensor& dx) {
  const auto* index = indices.data<int64_t>();
  const int64_t m = indices.numel();
  const int64_t row = dy.dim(2);
  const int64_t* positions = m > kSumRows ? sorted_positions(index, m, dx.dim(1)) : nullptr;
  visit_floating(dy.dtype(), "add_rows", [&]<class T>(T) {
    for (int64_t o = 0; o < dy.dim(0); ++o) {
      const T* data = dy.data<T>() + o * m * row;
      T* out = dx.data<T>() + o * dx.dim(1) * row;
      // Threads take columns, whole cache lines of them: no row is shared, however often an index is repeated, and
      // what an index gathers is added up in the order of i.
      constexpr int64_t kLine = 64 / sizeof(T);
      const int64_t lines = (row + kLine - 1) / kLine;
      const int64_t grain = std::max<int64_t>(1, kGrain / (kLine * std::max<int64_t>(1, m)));
      parallel_for(lines, grain, [&](int64_t begin, int64_t end, int64_t) {
        const int64_t column = begin * kLine;
        const int64_t columns = std::min(row, end * kLine) - column;
        if (positions == nullptr) {
          add_range(data + column, index, m, row, columns, scale, skip, out + column);
        } else {
          add_sorted(data + column, index, positions, m, row, columns, scale, skip, out + column);
        }
      });
    }
  });
}

void take_along(const Tensor& x, const Tensor& indices, Tensor& y) {
  const Tensor from = x.contiguous();
  const auto* index = indices.data<int64_t>();
  const int64_t n = x.dim(1);
  const int64_t m = indices.dim(1);
  const int64_t inner = x.dim(2);
  visit_bits(x.dtype(), [&]<class U>(U) {
    const U* data = bits<U>(from);
    U* out = bits<U>(y);
    parallel_for(y.numel(), kGrain, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t at = begin; at < end; ++at) {
        out[at] = data[(at / (m * inner) * n + index[at]) * inner + at % inner];
      }
    });
  });
}

void put_along(const Tensor& x, const Tensor& indices, Tensor& y) {
  const auto* index = indices.data<int64_t>();
  const int64_t m = indices.dim(1);
  const int64_t inner = y.dim(2);
  visit_bits(x.dtype(), [&]<class U>(U) {
    const U* data = bits<U>(x);
    U* out = bits<U>(y);
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, m));
    parallel_for(y.dim(0) * inner, grain, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t k = begin; k < end; ++k) {
        for (int64_t i = 0; i < m; ++i) {
          const int64_t at = (k / inner * m + i) * inner + k % inner;
          out[(k / inner * y.dim(1) + index[at]) * inner + k % inner] = data[at];
        }
      }
    });
  });
}

void add_along(const Tensor& dy, const Tensor& indices, Tensor& dx) {
  const auto* index = indices.data<int64_t>();
  const int64_t n = dx.dim(1);
  const int64_t m = indices.dim(1);
  const int64_t inner = dx.dim(2);
  const auto visit = [&](auto&& f) {
    if (dy.dtype() == DType::kInt64) return f(int64_t{});
    visit_floating(dy.dtype(), "add_along", f);
  };
  visit([&]<class T>(T) {
    const T* data = dy.data<T>();
    T* out = dx.data<T>();
    using Total = std::conditional_t<std::is_same_v<T, int64_t>, int64_t, double>;
    // One thread per (o, k): its indices point at nobody else's elements. Many are added up in double precision.
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, m));
    parallel_for(dy.dim(0) * inner, grain, [&](int64_t begin, int64_t end, int64_t) {
      Total* totals = m > kSumRows ? scratch<Total>(1, n) : nullptr;
      for (int64_t k = begin; k < end; ++k) {
        const int64_t outer = k / inner;
        const int64_t column = k % inner;
        T* to = out + outer * n * inner + column;
        const auto add_to = [&](auto&& at_index) {
          for (int64_t i = 0; i < m; ++i) {
            const int64_t at = (outer * m + i) * inner + column;
            at_index(index[at]) += data[at];
          }
        };
        if (totals == nullptr) {
          add_to([&](int64_t i) -> T& { return to[i * inner]; });
          continue;
        }
        for (int64_t i = 0; i < n; ++i) totals[i] = static_cast<Total>(to[i * inner]);
        add_to([&](int64_t i) -> Total& { return totals[i]; });
        for (int64_t i = 0; i < n; ++i) to[i * inner] = static_cast<T>(totals[i]);
      }
    });
  });
}

void find_outside(const Tensor& indices, int64_t bound, int64_t& position) {
  const auto* index = indices.data<int64_t>();
  const int64_t n = indices.numel();
  const auto outside = [&](int64_t i) { return static_cast<uint64_t>(i) >= static_cast<uint64_t>(bound); };
  const auto* found = std::find_if(index, index + n, outside);
  position = found == index + n ? -1 : found - index;
}

}  // namespace attune::cpu
#endif
