#include "framework/random.h"

#include <cmath>
#include <numbers>

#include "framework/fail.h"

namespace attune {

PhiloxBlock philox(uint64_t seed, uint64_t counter) {
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

uint32_t RandomStream::next_uint32() { return philox(state_.seed, state_.offset++).word[0]; }

uint64_t RandomStream::below(uint64_t n) {
  require<ValueError>(n > 0, "RandomStream::below: 0 given, expected at least 1");
  // Draws above the largest multiple of n would favour small results: draw again.
  const uint64_t limit = ~uint64_t{0} - ~uint64_t{0} % n;
  for (;;) {
    const PhiloxBlock block = philox(state_.seed, state_.offset++);
    const uint64_t value = (static_cast<uint64_t>(block.word[1]) << 32) | block.word[0];
    if (value < limit) return value % n;
  }
}

double RandomStream::uniform() {
  const PhiloxBlock block = philox(state_.seed, state_.offset++);
  const uint64_t bits = ((static_cast<uint64_t>(block.word[1]) << 32) | block.word[0]) >> 11;
  return static_cast<double>(bits) * 0x1.0p-53;
}

double RandomStream::normal() {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

namespace {
template <class Draw>
Tensor fill(const Shape& shape, DType dtype, const char* who, Draw&& draw) {
  if (dtype == DType::kBFloat16) return fill(shape, DType::kFloat32, who, draw).to(dtype);
  Tensor out = Tensor::empty(shape, dtype);
  visit_floating(dtype, who, [&]<class T>(T) {
    T* data = out.data<T>();
    for (int64_t i = 0; i < out.numel(); ++i) data[i] = static_cast<T>(draw());
  });
  return out;
}
}  // namespace

Tensor RandomStream::uniform(const Shape& shape, double low, double high, DType dtype) {
  return fill(shape, dtype, "RandomStream::uniform", [&] { return low + (high - low) * uniform(); });
}

Tensor RandomStream::normal(const Shape& shape, double mean, double stddev, DType dtype) {
  return fill(shape, dtype, "RandomStream::normal", [&] { return mean + stddev * normal(); });
}

RandomStream& default_stream() {
  thread_local RandomStream stream(0);
  return stream;
}

void manual_seed(uint64_t seed) { default_stream() = RandomStream(seed); }

}  // namespace attune
