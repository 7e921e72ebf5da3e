#include "framework/random.h"

#include <atomic>
#include <cmath>
#include <numbers>

#include "framework/fail.h"

namespace attune {

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

namespace {

std::atomic<uint64_t> process_seed{0};
std::atomic<uint64_t> threads_seeded{0};

uint64_t seed_of_next_thread() {
  const uint64_t seed = process_seed.load(std::memory_order_relaxed);
  const uint64_t thread = threads_seeded.fetch_add(1, std::memory_order_relaxed);
  if (thread == 0) return seed;
  // Not seed + thread: neighbouring seeds are what people choose.
  const PhiloxBlock block = philox(~seed, thread);
  return (static_cast<uint64_t>(block.word[1]) << 32) | block.word[0];
}

}  // namespace

RandomStream& default_stream() {
  thread_local RandomStream stream(seed_of_next_thread());
  return stream;
}

void manual_seed(uint64_t seed) {
  RandomStream& stream = default_stream();
  stream = RandomStream(seed);
  process_seed.store(seed, std::memory_order_relaxed);
}

}  // namespace attune
