#pragma once

#include "framework/kernels/cuda/context.h"
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
  const uint64_t* draws = nullptr;  ///< in device memory, added to the offset unless nullptr

  Drop() = default;
  Drop(const Context& c, RandomState begin, double p)
      : state(begin),
        threshold(static_cast<uint32_t>(p * 4294967296.0)),
        factor(static_cast<C>(1 / (1 - p))),
        active(p > 0),
        draws(c.captures ? c.draws : nullptr) {}
  Drop(const Context& c, const DropoutSpec& spec) : Drop(c, spec.state, spec.probability) {}

  /// Counter i of the draw.
  __device__ PhiloxBlock block(uint64_t i) const {
    return philox(state.seed, state.offset + (draws != nullptr ? *draws : 0) + i);
  }

  /// Element i of the draw (framework/random.h).
  __device__ C operator()(C x, int64_t i) const { return active ? kept(x, word(i)) : x; }
  /// Its word.
  __device__ uint32_t word(int64_t i) const {
    const auto at = static_cast<uint64_t>(i);
    const PhiloxBlock drawn = block(at / 64 * 16 + at % 16);
    return (i & 32) != 0 ? ((i & 16) != 0 ? drawn.word[3] : drawn.word[2])
                         : ((i & 16) != 0 ? drawn.word[1] : drawn.word[0]);
  }
  /// With the element's word.
  __device__ C kept(C x, uint32_t word) const { return word >= threshold ? x * factor : C(0); }
};

}  // namespace attune::cuda
