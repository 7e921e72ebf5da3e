#include "framework/kernels/random.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "framework/kernels/cpu/parallel.h"

namespace attune::cpu {
namespace {

/// y[i] = draw(word 2 i, word 2 i + 1).
template <class Draw>
void draw_pairs(const char* who, RandomState state, Tensor& y, const Draw& draw) {
  const int64_t n = y.numel();
  visit_floating(y.dtype(), who, [&]<class T>(T) {
    T* out = y.data<T>();
    constexpr int64_t kGrain = 128;  // blocks of 32 elements, which take 64 words
    parallel_for((n + 31) / 32, kGrain, [&](int64_t begin, int64_t end, int64_t) {
      uint32_t words[64];
      for (int64_t block = begin; block < end; ++block) {
        for (uint64_t counter = 0; counter < 16; ++counter) {
          const PhiloxBlock drawn = philox(state.seed, state.offset + static_cast<uint64_t>(block) * 16 + counter);
          for (uint64_t k = 0; k < 4; ++k) words[16 * k + counter] = drawn.word[k];
        }
        const int64_t count = std::min<int64_t>(32, n - 32 * block);
        for (int64_t i = 0; i < count; ++i)
          out[32 * block + i] = static_cast<T>(draw(words[2 * i], words[2 * i + 1], T{}));
      }
    });
  });
}

}  // namespace

void draw_uniform(RandomState state, Tensor& y) {
  draw_pairs("rand", state, y, [](uint32_t high, uint32_t low, auto t) { return uniform_of<decltype(t)>(high, low); });
}

void draw_normal(RandomState state, Tensor& y) {
  draw_pairs("randn", state, y, [](uint32_t first, uint32_t second, auto) {
    return std::sqrt(-2 * std::log(radius_of(first))) * std::cos(2 * std::numbers::pi * fraction_of(second));
  });
}

}  // namespace attune::cpu
