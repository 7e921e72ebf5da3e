#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "framework/tensor.h"

namespace attune {

/// As NumPy's set_printoptions.
struct PrintOptions {
  int precision = 4;         ///< digits behind the point
  int64_t threshold = 1000;  ///< more elements are shortened
  int64_t edge_items = 3;    ///< shown at both ends of a shortened axis
};

/// The elements in columns, in brackets by axis, then dtype, shape and device, as NumPy and PyTorch print them:
///
///     [[1.0000, 2.5000],
///      [3.0000, 4.0000]] float32 [2, 2] on cpu
///
/// Waits for the device.
std::string to_string(const Tensor& x, const PrintOptions& options = {});

std::ostream& operator<<(std::ostream& out, const Tensor& x);

}  // namespace attune
