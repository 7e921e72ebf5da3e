#pragma once

// For the ops' .cpp files: checks that several of them share.
#include "autograd/variable.h"
#include "framework/fail.h"
#include "framework/kernels/reduce.h"

namespace attune {

inline void check_probability(const char* op, double p) {
  require<ValueError>(p >= 0 && p < 1, "{}: the dropout probability is {}, expected 0 <= p < 1", op, p);
}

inline void check_same_dtype(const char* op, const Variable& a, const char* a_name, const Variable& b,
                             const char* b_name) {
  require<DTypeError>(a.dtype() == b.dtype(), "{}: {} is {} and {} is {}; convert one with cast()", op, a_name,
                      dtype_name(a.dtype()), b_name, dtype_name(b.dtype()));
}

/// Sums `full` over the axes along which `shape` was broadcast to reach it.
inline Tensor unbroadcast(Tensor full, const Shape& shape) {
  if (full.shape() == shape) return full;
  Tensor out = Tensor::empty(shape, full.dtype(), full.device());
  kernels::sum_to(full, out);
  return out;
}

}  // namespace attune
