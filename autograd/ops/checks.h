#pragma once

// For the ops' .cpp files: checks that several of them share.
#include "autograd/variable.h"
#include "framework/fail.h"
#include "framework/kernels/reduce.h"
#include "framework/math/detail/checks.h"

namespace attune {

/// Defined and of a floating dtype.
void check_operand(const char* op, const char* name, const Variable& x);

/// Sums x over the axes along which `shape` was broadcast to reach the shape of x. x itself when there are none.
Tensor reduce_to(Tensor x, const Shape& shape);

/// dy times a derivative, in a tensor of its own; 0 where dy is 0, see framework/kernels/elementwise.h.
Tensor chained(const Tensor& dy, const Tensor& derivative);

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
