#pragma once

#include <cstdint>

namespace attune::bench {

// Floating-point operations, two for each multiplication with an addition.

/// rows of `in` values -> rows of `out` values.
inline double product(int64_t rows, int64_t in, int64_t out) {
  return 2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
}

/// Scores and weighted sums over `keys` keys, of all heads together D wide.
inline double attended(int64_t rows, int64_t keys, int64_t dim) { return 2 * product(rows, dim, keys); }

}  // namespace attune::bench
