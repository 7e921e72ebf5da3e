#pragma once

#include <cstdint>

namespace attune::cpu {

/// to[i] += from[i] for n elements, in the calling thread.
void add_to(const float* from, float* to, int64_t n);
void add_to(const double* from, double* to, int64_t n);

}  // namespace attune::cpu
