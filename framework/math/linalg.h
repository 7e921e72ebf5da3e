#pragma once

#include <string_view>

#include "framework/tensor.h"

namespace attune {

/// Matrix product over the last two axes, leading axes broadcast: [..., M, K] x [..., K, N] -> [..., M, N]. A vector in
/// front is a row, one behind a column, whose axis the result has not. Floating dtypes.
Tensor matmul(const Tensor& a, const Tensor& b);

/// Sum of products by labels of axes, as NumPy writes it: "bqd,bkd->bqk". A label that is not in the result is summed
/// over; without "->" the result has the labels that occur once, in alphabetical order. Each operand has a label once.
/// Becomes one matrix product. Floating dtypes.
Tensor einsum(std::string_view equation, const Tensor& a, const Tensor& b);

}  // namespace attune
