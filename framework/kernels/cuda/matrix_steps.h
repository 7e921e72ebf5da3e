#pragma once

#include <algorithm>
#include <cstdint>

namespace attune::cuda {

// What cuBLAS reads without a copy; tested on the host.

/// Element (i, j) of a matrix lies at i * rows + j * columns.
struct MatrixSteps {
  int64_t rows = 0;
  int64_t columns = 0;

  MatrixSteps transposed() const { return {columns, rows}; }
};

/// Whether a matrix of m rows and n columns has unit steps along one axis, and no overlap along the other.
inline bool is_readable(const MatrixSteps& s, int64_t m, int64_t n) {
  return ((n == 1 || s.columns == 1) && (m == 1 || s.rows >= n)) ||
         ((m == 1 || s.rows == 1) && (n == 1 || s.columns >= m));
}

/// The same elements with steps of which one is 1 and the other, along more than one row or column, is not: an axis of
/// extent 1 may carry any step.
inline MatrixSteps decided(MatrixSteps s, int64_t m, int64_t n) {
  if (n == 1 && s.rows != 1) s.columns = 1;
  if (m == 1 && s.columns != 1) s.rows = 1;
  if (m == 1 && s.columns == 1) s.rows = n;
  if (n == 1 && s.rows == 1 && m > 1) s.columns = m;
  return s;
}

/// Of decided steps: whether the matrix is stored column by column, and from one column (or row) to the next.
struct MatrixLayout {
  bool by_columns;
  int64_t step;

  MatrixLayout(const MatrixSteps& s, int64_t m, int64_t n)
      : by_columns(s.columns != 1), step(by_columns ? std::max(s.columns, m) : std::max(s.rows, n)) {}
};

}  // namespace attune::cuda
