#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

/// How a batch of products reads its operands.
struct MatmulOptions {
  bool transpose_a = false;
  bool transpose_b = false;
  double alpha = 1;
  bool accumulate = false;
  /// A zero in op(a) contributes nothing even where op(b) holds NaN or infinity.
  bool exact_zeros = false;
};

/// c = alpha op(a) op(b) (+ c). a [..., M, K], b [..., K, N], c [..., M, N] contiguous; leading axes of a and b equal
/// to c's (expanded, stride 0, where they broadcast). One dtype, but c may be float32 beside bfloat16 a and b.
ATTUNE_WIDE_KERNEL(matmul, const Tensor& a, const Tensor& b, const MatmulOptions& options, Tensor& c);

}  // namespace attune
