#pragma once

#include "framework/kernels/activation.h"
#include "framework/kernels/cuda/context.h"

namespace attune::cuda {

/// A matrix with unit steps along rows or columns (see matrix_steps.h): element (i, j) at i * rows + j * columns.
struct Matrix {
  const void* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t batch = 0;  ///< step from one matrix of a batch to the next
};

/// c = alpha a b (+ c), a [M, K], b [K, N], c [M, N] row by row, in cuBLASLt. Sums are float64 for float64, else
/// float32 (not TF32).
struct Product {
  DType dtype = DType::kFloat32;
  bool wide_c = false;  ///< c is float32 beside bfloat16 a and b; without a bias
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  int64_t batches = 1;
  Matrix a;
  Matrix b;
  void* c = nullptr;
  int64_t c_rows = 0;  ///< step from one row of c to the next; 0: N
  int64_t c_batch = 0;
  double alpha = 1;
  bool accumulate = false;
  const void* bias = nullptr;  ///< [N], added to every row; not for float64
  /// With a bias only: of what c would be. kRelu, or kGeluTanh for bfloat16 (cuBLAS approximates tanh).
  Activation activation = Activation::kNone;
  void* z = nullptr;  ///< what kGeluTanh is taken of is kept here (optional): [M, N] row by row, N a multiple of 8
};

/// Nothing is written where m, n or batches is 0; with k = 0, c becomes 0 without its bias. The way to compute products
/// of one shape is looked for once and kept.
void multiply(const Context& context, const char* who, const Product& product);
/// The same, but where cuBLASLt has no way to compute it, it does nothing and returns false.
bool try_multiply(const Context& context, const char* who, const Product& product);

}  // namespace attune::cuda
