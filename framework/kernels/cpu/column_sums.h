#pragma once

// Sums down the columns of many rows: of biases, of the weights of norms. A sum of a million float32 numbers, one after
// the other, is off by a per cent, and stops growing at 2^24 ones. Here partial sums of the element type take at most
// kSumRows rows; they are added up in double precision, over the threads too.

#include <algorithm>

#include "framework/kernels/cpu/parallel.h"
#include "framework/tensor.h"

namespace attune::cpu {

/// Rows that a partial sum of the element type takes.
inline constexpr int64_t kSumRows = 128;

/// One thread's sums of columns.
template <class T>
struct ColumnSums {
  T* part = nullptr;        // of the rows that were added since the last flush
  double* total = nullptr;  // of those before
  int64_t columns = 0;
  int64_t rows = 0;  // in part

  /// Notes that `count` rows were added to `part`.
  void add_rows(int64_t count) {
    rows += count;
    if (rows >= kSumRows) flush();
  }
  void flush() {
    for (int64_t j = 0; j < columns; ++j) {
      total[j] += static_cast<double>(part[j]);
      part[j] = 0;
    }
    rows = 0;
  }
};

/// Sums of columns in every thread's share of the rows, zero at first.
template <class T>
class SharedColumnSums {
 public:
  explicit SharedColumnSums(int64_t columns, int64_t shares = num_threads())
      : columns_(columns),
        shares_(shares),
        parts_(Tensor::zeros({shares, columns}, kDTypeOf<T>)),
        totals_(Tensor::zeros({shares, columns}, DType::kFloat64)) {}

  /// Columns first ... first + count - 1 of a share.
  ColumnSums<T> share(int64_t share, int64_t first, int64_t count) {
    const int64_t at = share * columns_ + first;
    return {parts_.template data<T>() + at, totals_.template data<double>() + at, count};
  }
  ColumnSums<T> share(int64_t index) { return share(index, 0, columns_); }

  /// The column's sum over all shares, which have been flushed.
  double sum(int64_t column) const {
    const double* totals = totals_.template data<double>() + column;
    double sum = 0;
    for (int64_t i = 0; i < shares_; ++i) sum += totals[i * columns_];
    return sum;
  }

  /// to[j] = (to[j] +) the sum of column first + j.
  void write(int64_t first, int64_t count, bool accumulate, T* to) const {
    for (int64_t j = 0; j < count; ++j) {
      to[j] = static_cast<T>((accumulate ? static_cast<double>(to[j]) : 0) + sum(first + j));
    }
  }

 private:
  int64_t columns_;
  int64_t shares_;
  Tensor parts_;
  Tensor totals_;
};

}  // namespace attune::cpu
