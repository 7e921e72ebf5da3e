#pragma once

#include <algorithm>

#include "framework/kernels/cpu/gemm.h"
#include "framework/kernels/cpu/parallel.h"

namespace attune::cpu {

/// gemm(), the longest sums of which are cut: it adds up blocks in T, and of thousands of them the sum would drift.
/// Their parts are added in double precision.
template <class T>
void gemm_of_any_depth(const Product<T>& p) {
  constexpr int64_t kLongest = 64 * kPackedDepth;
  if (p.k <= 2 * kLongest) return gemm(p);
  const int64_t rows = std::clamp<int64_t>(65536 / p.n, std::min<int64_t>(p.m, 64), p.m);  // of C at a time
  T* part = scratch<T>(1, rows * p.n);
  auto* total = scratch<double>(2, rows * p.n);
  for (int64_t i = 0; i < p.m; i += rows) {
    Product<T> product = p;
    product.m = std::min(rows, p.m - i);
    product.c = part;
    product.ldc = p.n;
    product.accumulate = false;
    const int64_t size = product.m * p.n;
    std::fill_n(total, size, 0.0);
    for (int64_t k = 0; k < p.k; k += kLongest) {
      product.k = std::min(kLongest, p.k - k);
      product.a = p.a.at(i, k);
      product.b = p.b.at(k, 0);
      gemm(product);
      for (int64_t j = 0; j < size; ++j) total[j] += static_cast<double>(part[j]);
    }
    for (int64_t r = 0; r < product.m; ++r) {
      T* c = p.c + (i + r) * p.ldc;
      for (int64_t j = 0; j < p.n; ++j) {
        c[j] = static_cast<T>(total[r * p.n + j] + (p.accumulate ? static_cast<double>(c[j]) : 0));
      }
    }
  }
}

}  // namespace attune::cpu
