#pragma once

#include <cstdint>

namespace attune::cpu {

// The products of convolutions, in the calling thread. A window is not copied into a row of a matrix: it is a few runs
// of memory that lie at the same distances from its first element in every picture, and is read where it lies.

/// What a window consists of: `length` elements from each of its `count` offsets on.
struct Runs {
  const int64_t* offsets = nullptr;
  int64_t count = 0;
  int64_t length = 0;

  int64_t elements() const { return count * length; }
};

/// c[r][j] = sum over runs i and elements k of a[r][offsets[i] + k] B[i length + k][j] (+ bias[j]), j < n.
template <class T>
struct WindowProduct {
  /// The rows: where each window begins, and where its result goes. Both lists have kWindowTile - 1 more entries, of
  /// windows that may be read and memory that may be written.
  const T* const* a = nullptr;
  T* const* c = nullptr;
  int64_t rows = 0;
  Runs runs;
  const T* b = nullptr;  ///< [runs.elements(), n] as pack() leaves it
  int64_t n = 0;
  const T* bias = nullptr;  ///< [n] or null
};

inline constexpr int64_t kWindowTile = 8;

void multiply_windows(const WindowProduct<float>& product);
void multiply_windows(const WindowProduct<double>& product);

/// C[r][i length + k] += sum over lines and pixels p of a[line][p a_step + r] b[line][p b_step + offsets[i] + k]: the
/// gradient of weights from lines of the output's gradient and of pictures.
template <class T>
struct LineProduct {
  const T* const* a = nullptr;  ///< of each line: the output channels of its first pixel
  const T* const* b = nullptr;  ///< of each line: where the window of its first pixel begins
  int64_t lines = 0;
  int64_t pixels = 0;  ///< of each line
  int64_t a_step = 0;
  int64_t b_step = 0;
  int64_t rows = 0;
  /// Where runs are no whole vectors, packed_columns(1) - 1 elements behind them are read too, and ignored.
  Runs runs;
  T* c = nullptr;  ///< [rows, runs.elements()]
};

void add_lines(const LineProduct<float>& product);
void add_lines(const LineProduct<double>& product);

}  // namespace attune::cpu
