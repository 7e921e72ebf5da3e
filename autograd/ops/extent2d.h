#pragma once

#include <cstdint>

namespace attune {

/// A height and a width in pixels; one number stands for both.
struct Extent2d {
  Extent2d(int64_t both) : height(both), width(both) {}  // NOLINT(google-explicit-constructor): .stride = 2
  Extent2d(int64_t rows, int64_t columns) : height(rows), width(columns) {}

  int64_t height;
  int64_t width;
};

}  // namespace attune
