#pragma once

#include "framework/kernels/norm.h"
#include "framework/random.h"

namespace attune::cuda {

/// Dropout as kernels see it; probability 0: nothing is dropped.
template <class C>
struct Drop {
  RandomState state{};
  uint32_t threshold = 0;  ///< a word below it drops its element
  C factor = 1;            ///< of what is kept
  bool active = false;

  Drop() = default;
  Drop(RandomState begin, double p)
      : state(begin),
        threshold(static_cast<uint32_t>(p * 4294967296.0)),
        factor(static_cast<C>(1 / (1 - p))),
        active(p > 0) {}
  explicit Drop(const DropoutSpec& spec) : Drop(spec.state, spec.probability) {}

  /// Element i of the draw (framework/random.h).
  __device__ C operator()(C x, int64_t i) const { return active ? kept(x, word(i)) : x; }
  /// Its word.
  __device__ uint32_t word(int64_t i) const {
    const auto at = static_cast<uint64_t>(i);
    const PhiloxBlock block = philox(state.seed, state.offset + at / 64 * 16 + at % 16);
    return (i & 32) != 0 ? ((i & 16) != 0 ? block.word[3] : block.word[2])
                         : ((i & 16) != 0 ? block.word[1] : block.word[0]);
  }
  /// With the element's word.
  __device__ C kept(C x, uint32_t word) const { return word >= threshold ? x * factor : C(0); }
};

}  // namespace attune::cuda
