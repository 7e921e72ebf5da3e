#pragma once

#include <cstdint>

namespace attune {

/// Makes rows of x, `count` of length `size` >= count, orthogonal with their lengths kept.
void orthogonalise_rows(double* x, int64_t count, int64_t size);

}  // namespace attune
