#pragma once

#include <catch2/catch_test_macros.hpp>

#include <string>

#include "layers/module.h"

namespace attune::testing {

/// The parameter or buffer of this name, its storage shared with the module; fails the running test when there is none.
inline Tensor parameter_of(const Module& module, const std::string& name) {
  for (const auto& [key, tensor] : module.state_dict()) {
    if (key == name) return tensor;
  }
  FAIL("no parameter " << name);
  return {};
}

/// Element x[indices...] of a float64 tensor.
template <class... Index>
double element(const Tensor& x, Index... indices) {
  const int64_t index[] = {indices...};
  int64_t at = 0;
  for (int axis = 0; axis < x.rank(); ++axis) at += index[axis] * x.stride(axis);
  return x.data<double>()[at];
}

}  // namespace attune::testing
