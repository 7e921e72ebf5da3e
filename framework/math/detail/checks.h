#pragma once

// For .cpp files: what functions on tensors, and ops on Variables, check alike.

#include "framework/fail.h"
#include "framework/math/axes.h"
#include "framework/tensor.h"

namespace attune {

/// The axis as 0 ... rank - 1. Throws ShapeError naming the op.
int check_axis(const char* op, const Shape& shape, int axis);

/// Bit i is set for axis i. Throws ShapeError naming the op for an axis outside and for one that is given twice.
unsigned check_axes(const char* op, const Shape& shape, const Axes& axes);

/// Where row-major position `position` of `shape` is, axis by axis.
Shape index_at(const Shape& shape, int64_t position);

/// Int64 and within 0 ... bound - 1, otherwise ValueError naming the position. `what`: "id", "index". Returns them
/// contiguous.
Tensor check_indices(const char* op, const char* what, const Tensor& indices, int64_t bound);

/// The same for indices into an axis of extent `bound`, of which negative ones count from its end. Returns them within
/// 0 ... bound - 1.
Tensor wrap_indices(const char* op, const Tensor& indices, int64_t bound);

/// x as [outer, n, inner] around one axis, 0 <= axis. A view where strides allow.
Tensor around_axis(const Tensor& x, int axis);

/// Throws ValueError for an undefined tensor.
void check_defined(const char* op, const char* name, const Tensor& x);
/// Defined and of a floating dtype.
void check_floating(const char* op, const char* name, const Tensor& x);
/// Defined and floating or int64.
void check_number(const char* op, const char* name, const Tensor& x);
/// Defined and bool.
void check_bool(const char* op, const char* name, const Tensor& x);
/// Of one dtype.
void check_same_dtype(const char* op, const Tensor& a, const Tensor& b);

/// A shape whose axes are reduced, all without any.
struct Reduced {
  Shape shape;    ///< as it was
  Shape kept;     ///< reduced extents are 1
  Shape dropped;  ///< without them
  unsigned axes = 0;
  int64_t count = 1;       ///< elements that become one
  bool neighbours = true;  ///< the reduced axes follow each other: grouped() is a view where strides allow

  Reduced(const char* op, const Shape& shape, const Axes& axes);

  const Shape& result(bool keep) const { return keep ? kept : dropped; }
  /// Throws ShapeError where an element of the result has no elements to be made of.
  void require_elements(const char* op, const char* what) const;
  /// Throws ValueError unless more than `correction` elements become one.
  void require_variance(const char* op, int64_t correction) const;
  /// x as [outer, count, inner], whose reduction [outer, 1, inner] has the elements of result() in order.
  Tensor grouped(const Tensor& x) const;
  /// The reverse. A view.
  Tensor ungrouped(const Tensor& groups) const;

 private:
  /// Axes that stay, then those that are reduced.
  Axes order() const;
};

/// f(x), in float32 where x is bfloat16: for what is made of several steps.
template <class F>
Tensor in_float32(const Tensor& x, F&& f) {
  return x.dtype() == DType::kBFloat16 ? f(x.to(DType::kFloat32)).to(DType::kBFloat16) : f(x);
}

}  // namespace attune
