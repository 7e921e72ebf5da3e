#pragma once

#include "framework/kernels/activation.h"
#include "framework/kernels/kernel.h"
#include "framework/kernels/norm.h"

namespace attune {

/// z = x weight^T + bias, y = dropout(activation(z)) block by block. x [rows, K], weight [N, K], bias [N] (optional), z
/// (undefined when it need not be kept), y [rows, N]; all contiguous.
ATTUNE_WIDE_KERNEL(linear, const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation,
                   const DropoutSpec& dropout, Tensor& z, Tensor& y);

/// dz = gradient before the activation, and the sums of its columns, dbias (optional; added to when accumulate; may be
/// float32 beside bfloat16), in one pass. Reads y for relu, z for the others. dz may be dy, and is only read from dy
/// (left undefined) when activation is kNone without dropout.
ATTUNE_WIDE_KERNEL(linear_backward, const Tensor& dy, const Tensor& z, const Tensor& y, Activation activation,
                   const DropoutSpec& dropout, Tensor& dz, Tensor& dbias, bool accumulate);

}  // namespace attune
