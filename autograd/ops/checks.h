#pragma once

// For the ops' .cpp files: checks that several of them share.
#include "autograd/variable.h"
#include "framework/fail.h"
#include "framework/kernels/reduce.h"

namespace attune {

/// Defined and of a floating dtype.
void check_operand(const char* op, const char* name, const Variable& x);

/// Int64 and within 0 ... bound - 1, otherwise ValueError naming the position. `what`: "id", "index". Returns them
/// contiguous.
Tensor check_indices(const char* op, const char* what, const Tensor& indices, int64_t bound);

/// The axis as 0 ... rank - 1. Throws ShapeError naming the op.
int check_axis(const char* op, const Shape& shape, int axis);

/// Sums x over the axes along which `shape` was broadcast to reach the shape of x. x itself when there are none.
Tensor reduce_to(Tensor x, const Shape& shape);

/// x as [outer, n, inner] around one axis. A view where strides allow.
Tensor around_axis(const Tensor& x, int axis);

inline void check_probability(const char* op, double p) {
  require<ValueError>(p >= 0 && p < 1, "{}: the dropout probability is {}, expected 0 <= p < 1", op, p);
}

/// Whether an op on x rounds this parameter, see parameter_for().
inline bool is_rounded_for(const Variable& x, const Variable& parameter) {
  return x.dtype() == DType::kBFloat16 && parameter.defined() && parameter.dtype() == DType::kFloat32;
}

inline void check_same_dtype(const char* op, const Variable& a, const char* a_name, const Variable& b,
                             const char* b_name) {
  require<DTypeError>(a.dtype() == b.dtype(), "{}: {} is {} and {} is {}; convert one with cast()", op, a_name,
                      dtype_name(a.dtype()), b_name, dtype_name(b.dtype()));
}

/// The same for a parameter, which may also be float32 beside a bfloat16 x.
inline void check_parameter_dtype(const char* op, const Variable& x, const Variable& parameter, const char* name) {
  if (parameter.defined() && !is_rounded_for(x, parameter)) check_same_dtype(op, x, "x", parameter, name);
}

/// Sums `full` over the axes along which `shape` was broadcast to reach it.
inline Tensor unbroadcast(Tensor full, const Shape& shape) {
  if (full.shape() == shape) return full;
  Tensor out = Tensor::empty(shape, full.dtype(), full.device());
  kernels::sum_to(full, out);
  return out;
}

}  // namespace attune
