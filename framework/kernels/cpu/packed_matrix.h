#pragma once

#include <algorithm>
#include <cstdint>

#include "framework/kernels/cpu/gemm.h"
#include "framework/storage.h"

namespace attune::cpu {

/// B [k, n] of many products, packed once, whatever k.
template <class T>
class PackedMatrix {
 public:
  PackedMatrix(const Operand<T>& b, int64_t k, int64_t n)
      : k_(k),
        n_(n),
        memory_(StorageRef::allocate(static_cast<size_t>(k * packed_columns(n)) * sizeof(T), Device::cpu())),
        packed_(reinterpret_cast<T*>(memory_->data)) {
    for (int64_t k0 = 0; k0 < k; k0 += kPackedDepth) {
      pack(b.at(k0, 0), std::min(kPackedDepth, k - k0), n, packed_ + k0 * packed_columns(n));
    }
  }

  /// c = a B (+ c when accumulate) (+ bias by column) in the calling thread. a [m, k], c [m, n].
  void multiply(const Operand<T>& a, int64_t m, T* c, int64_t ldc, bool accumulate, const T* bias = nullptr) const {
    Product<T> product;
    product.m = m;
    product.n = n_;
    product.c = c;
    product.ldc = ldc;
    product.accumulate = accumulate;
    for (int64_t k0 = 0; k0 < k_; k0 += kPackedDepth) {
      product.k = std::min(kPackedDepth, k_ - k0);
      product.a = a.at(0, k0);
      product.packed = packed_ + k0 * packed_columns(n_);
      product.bias = k0 + product.k == k_ ? bias : nullptr;
      gemm(product);
      product.accumulate = true;
    }
  }

 private:
  int64_t k_;
  int64_t n_;
  StorageRef memory_;
  T* packed_;
};

}  // namespace attune::cpu
