#pragma once

#include <cstdint>

namespace attune::cpu {

/// A matrix operand: element (i, j) at data[i * row + j * col]. One of the steps must be 1.
template <class T>
struct Operand {
  const T* data = nullptr;
  int64_t row = 0;
  int64_t col = 1;

  Operand transposed() const { return {data, col, row}; }
  Operand at(int64_t i, int64_t j) const { return {data + i * row + j * col, row, col}; }
};

/// Called with a range of finished rows of C while they are in cache.
struct RowEpilogue {
  void (*run)(void* context, int64_t begin, int64_t end) = nullptr;
  void* context = nullptr;
};

/// C = alpha A B (+ C when accumulate) (+ bias by column) (then max(0, .) when relu).
/// A [m, k], B [k, n], C [m, n] row-major with `ldc` elements from row to row, bias [n] or null.
template <class T>
struct Product {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  Operand<T> a;
  Operand<T> b;
  T* c = nullptr;
  int64_t ldc = 0;
  T alpha = 1;
  bool accumulate = false;
  const T* bias = nullptr;
  bool relu = false;
  /// A zero in A contributes nothing even where B holds NaN or infinity. Costs a look at the packed B.
  bool exact_zeros = false;
  /// B as pack() left it, instead of `b`: all its columns from one on, or whole steps of kPackedStep of them.
  /// `exact_zeros` then says that it is not finite.
  const T* packed = nullptr;
  /// Rows that were packed together, when the product takes only k of them, from `packed_row` on. 0: k.
  int64_t packed_rows = 0;
  int64_t packed_row = 0;
  RowEpilogue epilogue;
};

/// Rows of B that a product should take at a time, so that they stay in the second-level cache.
inline constexpr int64_t kPackedDepth = 256;
/// Columns at which a packed B may be entered: a multiple of every panel width.
inline constexpr int64_t kPackedStep = 64;

/// Packs B [k, n] for products that share it: `out` holds k * packed_columns(n) elements; columns from j on (a multiple
/// of kPackedStep) begin at out + j * k. Returns whether every element is finite.
bool pack(const Operand<float>& b, int64_t k, int64_t n, float* out);
bool pack(const Operand<double>& b, int64_t k, int64_t n, double* out);
/// The largest L2 norm of the n columns that pack() packed.
float largest_column(const float* packed, int64_t k, int64_t n);
double largest_column(const double* packed, int64_t k, int64_t n);
/// n rounded up to whole vectors of any instruction set.
constexpr int64_t packed_columns(int64_t n) { return (n + 15) / 16 * 16; }

/// One product in the calling thread, with kernels of our own: rows of a few registers against panels of B that are
/// packed once, the instruction set chosen at run time.
void gemm(const Product<float>& product);
void gemm(const Product<double>& product);

/// The same for few rows of C, which packing B would not be worth: B, whose columns are contiguous, is read where it
/// lies. No exact_zeros, packed or epilogue.
void gemm_few_rows(const Product<float>& product);
void gemm_few_rows(const Product<double>& product);

/// gemm() split over the pool: rows of C, columns where there are more of them, or slices of a long sum. Every
/// element is computed in the same order whatever the number of threads.
void parallel_gemm(const Product<float>& product);
void parallel_gemm(const Product<double>& product);

}  // namespace attune::cpu
