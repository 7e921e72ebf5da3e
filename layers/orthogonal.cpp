#include "layers/orthogonal.h"

#include <cmath>

namespace attune {

// Gram and Schmidt, twice: once leaves the error of cancellation.
void orthogonalise_rows(double* x, int64_t count, int64_t size) {
  for (int64_t i = 0; i < count; ++i) {
    double* row = x + i * size;
    const auto dot = [&](const double* a, const double* b) {
      double total = 0;
      for (int64_t k = 0; k < size; ++k) total += a[k] * b[k];
      return total;
    };
    const double length = std::sqrt(dot(row, row));
    for (int pass = 0; pass < 2; ++pass) {
      for (int64_t j = 0; j < i; ++j) {
        const double* other = x + j * size;
        const double part = dot(row, other) / dot(other, other);
        for (int64_t k = 0; k < size; ++k) row[k] -= part * other[k];
      }
    }
    const double factor = length / std::sqrt(dot(row, row));
    for (int64_t k = 0; k < size; ++k) row[k] *= factor;
  }
}

}  // namespace attune
