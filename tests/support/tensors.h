#pragma once

#include <vector>

#include "framework/random.h"

namespace attune::testing {

/// Standard normal values that depend on nothing but shape and seed, rounded to float so that both dtypes hold the
/// same.
inline Tensor random_tensor(const Shape& shape, DType dtype = DType::kFloat64, uint64_t seed = 1) {
  RandomStream stream(seed);
  return stream.normal(shape, 0, 1).to(dtype);
}

inline std::vector<double> values(const Tensor& tensor) { return tensor.to(DType::kFloat64).to_vector<double>(); }

/// Largest |a - b|; infinity where shapes differ or only one is NaN.
double max_difference(const Tensor& a, const Tensor& b);

/// Equal shapes and values; NaN equals NaN.
bool same_values(const Tensor& a, const Tensor& b);

bool all_zero(const Tensor& tensor);

}  // namespace attune::testing
