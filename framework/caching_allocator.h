#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <vector>

#include "framework/storage.h"

namespace attune {

/// Where a caching allocator takes memory from.
struct MemorySource {
  /// Aligned to 64 bytes; nullptr where there is no more.
  std::byte* (*reserve)(size_t bytes, Device device);
  void (*give_back)(std::byte* block, size_t bytes, Device device) noexcept;
};

/// Set in Storage::size_class of the memory that only recorded steps use (framework/step_capture.h).
inline constexpr uint16_t kRecorded = 0x8000;
inline bool is_recorded(const Storage& storage) { return (storage.size_class & kRecorded) != 0; }

/// Keeps what is freed for reuse, so that a steady training step takes nothing from the source. Blocks are handed out
/// again at once: on a CUDA device all work is on one stream, so what reuses a block comes after what used it before.
class CachingAllocator {
 public:
  /// recorded: its blocks are those that is_recorded() knows. None of them is handed back: recorded steps use those too
  /// that are free between them.
  CachingAllocator(Device device, MemorySource source, bool recorded = false)
      : device_(device), source_(source), mark_(recorded ? kRecorded : 0) {}

  /// Throws DeviceError when the source has no more, also after everything cached has been handed back to it.
  Storage* allocate(size_t bytes);
  void free(Storage* storage) noexcept;
  /// Frees the block of a storage that stays in use, for StorageRef::move_into.
  void free_block_of(Storage* storage) noexcept;

  MemoryStats stats();
  void reset_peak();
  /// Hands back to the source what release_cached_memory() says; returns the bytes.
  size_t release();

  /// For fork(): see storage.cpp.
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  // Four size classes per doubling, so that at most a quarter of a block is unused and blocks are interchangeable
  // within a class. No splitting, no coalescing: a training step asks for the same sizes again and again.
  static constexpr size_t kClasses = 4 * 42;

  /// Small blocks are cut from chunks, one behind the other.
  struct Chunk {
    std::byte* begin = nullptr;
    size_t used = 0;
  };

  Storage* take(size_t size_class);
  Storage* carve(size_t size_class);
  std::byte* reserve(size_t bytes);
  size_t release_free();
  size_t release_chunks();
  void put_free(Storage* storage);
  Storage* header();
  void recycle(Storage* header);

  Device device_;
  MemorySource source_;
  uint16_t mark_;  // in the size classes of blocks
  std::mutex mutex_;
  MemoryStats stats_;
  std::array<Storage*, kClasses> free_{};
  Storage* headers_ = nullptr;
  std::vector<Chunk> chunks_;  // the last one is cut from
};

}  // namespace attune
