#pragma once

#include <cstdint>
#include <span>

#include "framework/tensor.h"

namespace attune {

/// A stream of random numbers that is nothing but a seed and an offset: saving both saves the stream.
/// Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), key = seed. Element i of a
/// draw at offset o uses word (i / 16) % 4 of counter o + (i / 64) * 16 + i % 16, on every device and vector width.
struct RandomState {
  uint64_t seed = 0;
  uint64_t offset = 0;  ///< in counters of four words

  bool operator==(const RandomState&) const = default;
};

/// One block of Philox4x32-10. A constant expression, so that CUDA kernels may call it.
struct PhiloxBlock {
  uint32_t word[4];
};
constexpr PhiloxBlock philox(uint64_t seed, uint64_t counter) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53;
  constexpr uint64_t kMultiplier1 = 0xCD9E8D57;
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
  PhiloxBlock c{{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0}};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = kMultiplier0 * c.word[0];
    const uint64_t p1 = kMultiplier1 * c.word[2];
    c = {{static_cast<uint32_t>(p1 >> 32) ^ c.word[1] ^ key0, static_cast<uint32_t>(p1),
          static_cast<uint32_t>(p0 >> 32) ^ c.word[3] ^ key1, static_cast<uint32_t>(p0)}};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return c;
}

class RandomStream {
 public:
  explicit RandomStream(uint64_t seed = 0) : state_{seed, 0} {}
  explicit RandomStream(RandomState state) : state_(state) {}

  const RandomState& state() const { return state_; }
  void set_state(RandomState state) { state_ = state; }

  /// Reserves counters for `count` elements and returns where they begin. Kernels draw from there.
  RandomState reserve(int64_t count) {
    const RandomState begin = state_;
    state_.offset += static_cast<uint64_t>((count + 63) / 64) * 16;
    return begin;
  }

  // Single draws, for shuffling and data generation.
  uint32_t next_uint32();
  /// Uniform over 0 ... n - 1, without bias.
  uint64_t below(uint64_t n);
  /// Uniform in [0, 1).
  double uniform();
  /// Standard normal (Box and Muller).
  double normal();
  /// Fisher and Yates.
  template <class T>
  void shuffle(std::span<T> values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

  // Filled tensors (float32 or float64).
  Tensor uniform(const Shape& shape, double low, double high, DType dtype = DType::kFloat32);
  Tensor normal(const Shape& shape, double mean, double stddev, DType dtype = DType::kFloat32);

 private:
  RandomState state_;
};

/// The stream that dropout and initialisers use in this thread unless told otherwise. Every thread has its own, and no
/// two are alike: the first thread of the process that draws has the process's seed (0 unless manual_seed() was
/// called), the others have seeds that follow from it and from the order in which threads first draw. For the same
/// draws in every run, a thread calls manual_seed().
RandomStream& default_stream();
/// Restarts default_stream() of this thread, and sets the seed from which threads get theirs that have not drawn yet.
void manual_seed(uint64_t seed);

}  // namespace attune
