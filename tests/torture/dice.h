#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <string_view>

namespace attune::torture {

/// The random choices of one trial; the same on every machine for a seed.
class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}

  /// From 0 to below `count`; count above 0.
  size_t below(size_t count) { return static_cast<size_t>(engine_() % count); }
  /// From `low` to `high`, both included.
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  /// From 0 to below 1.
  double unit() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  bool chance(double probability) { return unit() < probability; }

  template <class Container>
  const auto& pick(const Container& container) {
    return container[below(container.size())];
  }
  template <class T>
  T pick(std::initializer_list<T> list) {
    return list.begin()[below(list.size())];
  }

 private:
  std::mt19937_64 engine_;
};

/// A seed for the trial with this number of a subject such as "kills/sentiment".
inline uint64_t trial_seed(uint64_t seed, std::string_view subject, uint64_t number) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  const auto mix = [&](uint64_t byte) { hash = (hash ^ byte) * 0x100000001b3; };
  for (const char c : subject) mix(static_cast<unsigned char>(c));
  for (int shift = 0; shift < 64; shift += 8) mix(seed >> shift & 0xff);
  for (int shift = 0; shift < 64; shift += 8) mix(number >> shift & 0xff);
  return hash;
}

}  // namespace attune::torture
