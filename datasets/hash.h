#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace attune {

/// FNV-1a (Fowler, Noll, Vo) over bytes, with the finaliser of MurmurHash3 so that every bit of the result is usable.
/// The same on every machine; not for security. `seed` chains calls.
inline uint64_t stable_hash(std::span<const std::byte> bytes, uint64_t seed = 0) {
  uint64_t hash = 0xCBF29CE484222325u ^ seed;
  for (std::byte byte : bytes) hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001B3u;
  hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCDu;
  hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53u;
  return hash ^ (hash >> 33);
}

inline uint64_t stable_hash(std::string_view text, uint64_t seed = 0) {
  return stable_hash(std::as_bytes(std::span(text.data(), text.size())), seed);
}

}  // namespace attune
