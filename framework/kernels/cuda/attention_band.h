#pragma once

#include <algorithm>
#include <cstdint>

// Index arithmetic of attention's masks. Plain functions, constexpr so that device code may call them; tested on the
// host.

namespace attune::cuda {

/// begin <= i < end; empty where end <= begin.
struct IndexRange {
  int64_t begin = 0;
  int64_t end = 0;
};

/// Causal and window masks: query t may attend to keys t + low ... t + high.
struct Band {
  static constexpr int64_t kUnbounded = int64_t{1} << 60;

  int64_t low = -kUnbounded;
  int64_t high = kUnbounded;

  Band() = default;
  /// As in MaskSpec (framework/kernels/attention.h).
  constexpr Band(bool causal, int64_t offset, int64_t window_left, int64_t window_right) {
    if (window_left >= 0) low = offset - window_left;
    if (window_right >= 0) high = offset + window_right;
    if (causal && offset < high) high = offset;
  }

  constexpr bool allows(int64_t t, int64_t s) const { return s >= t + low && s <= t + high; }
  /// Whether all queries and keys of the two ranges, neither empty, may meet.
  constexpr bool allows_all(const IndexRange& t, const IndexRange& s) const {
    return s.begin >= t.end - 1 + low && s.end - 1 <= t.begin + high;
  }
  /// Of `count` keys those that any of the queries t, not empty, may attend to.
  constexpr IndexRange keys_of(const IndexRange& t, int64_t count) const {
    return {std::max<int64_t>(0, t.begin + low), std::min(count, t.end + high)};
  }
  /// Of `count` queries those that may attend to any of the keys s, not empty.
  constexpr IndexRange queries_of(const IndexRange& s, int64_t count) const {
    return {std::max<int64_t>(0, s.begin - high), std::min(count, s.end - low)};
  }
};

}  // namespace attune::cuda
