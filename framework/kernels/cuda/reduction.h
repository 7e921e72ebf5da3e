#pragma once

#include <cstdint>

#include "framework/shape.h"

// Index arithmetic of sums; tested on the host.

namespace attune::cuda {

/// A few nested axes, walked in row-major order.
struct Axes {
  int rank = 0;
  int64_t extent[Shape::kMaxRank] = {};
  int64_t stride[Shape::kMaxRank] = {};

  constexpr void push(int64_t e, int64_t s) {
    extent[rank] = e;
    stride[rank] = s;
    ++rank;
  }
  constexpr int64_t count() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= extent[i];
    return n;
  }
  constexpr int64_t offset(int64_t index) const {
    int64_t at = 0;
    for (int i = rank - 1; i > 0; --i) {
      at += index % extent[i] * stride[i];
      index /= extent[i];
    }
    return rank == 0 ? 0 : at + index * stride[0];
  }
};

/// The sum of a contiguous tensor of shape x to shape y: axes of equal fate that follow each other are one. Where the
/// innermost is summed, `run` is its extent and y[o] the sum over k and i < run of x[kept(o) + reduced(k) + i];
/// otherwise y[o * run + i] is the sum over k of x[kept(o) + reduced(k) + i].
struct Reduction {
  Axes kept;
  Axes reduced;
  int64_t run = 1;
  bool sums_runs = false;

  Reduction(const Shape& x, const Shape& y) {
    struct Group {
      int64_t extent;
      bool reduced;
    } groups[Shape::kMaxRank];
    int n = 0;
    for (int axis = 0; axis < x.rank(); ++axis) {
      if (x[axis] == 1) continue;
      const int own = axis - (x.rank() - y.rank());
      const bool is_reduced = own < 0 || y[own] == 1;
      if (n > 0 && groups[n - 1].reduced == is_reduced) {
        groups[n - 1].extent *= x[axis];
      } else {
        groups[n++] = {x[axis], is_reduced};
      }
    }
    if (n == 0) return;
    run = groups[n - 1].extent;
    sums_runs = groups[n - 1].reduced;
    int64_t stride = x.numel();
    for (int i = 0; i + 1 < n; ++i) {
      stride /= groups[i].extent;
      (groups[i].reduced ? reduced : kept).push(groups[i].extent, stride);
    }
  }
};

}  // namespace attune::cuda
