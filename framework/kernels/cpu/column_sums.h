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
  double* total = nullptr;  // of those before; null: all rows are so few that they stay in `part`
  int64_t columns = 0;
  int64_t rows = 0;  // in part

  /// Notes that `count` rows were added to `part`.
  void add_rows(int64_t count) {
    rows += count;
    if (rows >= kSumRows) flush();
  }
  void flush() {
    rows = 0;
    if (total == nullptr) return;
    for (int64_t j = 0; j < columns; ++j) {
      total[j] += static_cast<double>(part[j]);
      part[j] = 0;
    }
  }
};

/// Sums of columns in every thread's share of some rows, zero at first.
template <class T>
class SharedColumnSums {
 public:
  SharedColumnSums(int64_t rows, int64_t columns, int64_t shares = num_threads())
      : columns_(columns), shares_(shares), parts_memory_(Tensor::zeros({shares, columns}, kDTypeOf<T>)) {
    parts_ = parts_memory_.template data<T>();
    if (rows <= kSumRows) return;
    totals_memory_ = Tensor::zeros({shares, columns}, DType::kFloat64);
    totals_ = totals_memory_.template data<double>();
  }

  /// Columns first ... first + count - 1 of a share.
  ColumnSums<T> share(int64_t share, int64_t first, int64_t count) {
    const int64_t at = share * columns_ + first;
    return {parts_ + at, totals_ != nullptr ? totals_ + at : nullptr, count};
  }
  ColumnSums<T> share(int64_t index) { return share(index, 0, columns_); }

  /// The column's sum over all shares, in their order.
  double sum(int64_t column) const {
    double sum = 0;
    for (int64_t at = column; at < shares_ * columns_; at += columns_) {
      sum += static_cast<double>(parts_[at]);
      if (totals_ != nullptr) sum += totals_[at];
    }
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
  Tensor parts_memory_;
  Tensor totals_memory_;
  T* parts_ = nullptr;
  double* totals_ = nullptr;
};

}  // namespace attune::cpu
