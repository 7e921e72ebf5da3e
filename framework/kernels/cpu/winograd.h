#pragma once

#include <cstdint>

namespace attune::cpu {

// The transforms of Winograd's convolution F(2 x 2, 3 x 3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural
// Networks", 2016, section 4.1): four outputs of a 3 x 3 window from the 4 x 4 inputs d that they see,
//
//     Y = A^T ((G g G^T) * (B^T d B)) A,      * element by element, summed over the channels
//
// with 16 multiplications in place of 36. Over many tiles and channels each of the 16 places is a product of matrices.
// As the map from d and g to Y is bilinear, its gradients are the same maps transposed: of g it is
// G^T ((A dY A^T) * (B^T d B)) G.

enum class WinogradTransform : uint8_t {
  kInput,            ///< 4 x 4 -> 4 x 4: B^T d B
  kOutput,           ///< 4 x 4 -> 2 x 2: A^T m A
  kOutputGradient,   ///< 2 x 2 -> 4 x 4: A dY A^T
  kWeights,          ///< 3 x 3 -> 4 x 4: G g G^T
  kWeightsGradient,  ///< 4 x 4 -> 3 x 3: G^T du G
};

/// Small matrices of vectors: element (i, j) of matrix n begins at matrix(n) + i row + j column.
template <class T>
struct Grids {
  T* const* list = nullptr;  ///< where each begins; null: `first` + n `step`
  T* first = nullptr;
  int64_t step = 0;
  int64_t row = 0;
  int64_t column = 0;

  T* operator[](int64_t n) const { return list != nullptr ? list[n] : first + n * step; }
};

/// Vectors are whole multiples of this long.
inline constexpr int64_t kWinogradLanes = 16;

/// Of `count` matrices of vectors of `length` elements. bias [length] or null is added.
void winograd(WinogradTransform transform, int64_t count, int64_t length, const Grids<const float>& from,
              const Grids<float>& to, const float* bias = nullptr);
void winograd(WinogradTransform transform, int64_t count, int64_t length, const Grids<const double>& from,
              const Grids<double>& to, const double* bias = nullptr);

}  // namespace attune::cpu
