#pragma once

// For .cpp files: numbers beside tensors.

#include <utility>

#include "framework/math/scalar.h"
#include "framework/tensor.h"

namespace attune {

/// A tensor of rank 0.
Tensor number_tensor(Scalar number, DType dtype, Device device);

/// x, and the number beside it in its dtype: x is made float32 where it holds integers and the number is a fraction.
std::pair<Tensor, Tensor> beside_number(const Tensor& x, Scalar number);

}  // namespace attune
