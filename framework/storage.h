#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "framework/device.h"

namespace attune {

/// What the caching allocator of a device holds. Freed blocks are kept for reuse, so that a steady training step makes
/// no system allocation.
struct MemoryStats {
  size_t bytes_in_use = 0;          ///< handed out and not yet freed
  size_t peak_bytes_in_use = 0;     ///< since the start or the last reset_peak_memory()
  size_t bytes_reserved = 0;        ///< taken from the system
  uint64_t system_allocations = 0;  ///< how often the system was asked
};

MemoryStats memory_stats(Device device = Device::cpu());
void reset_peak_memory(Device device = Device::cpu());
/// Hands cached memory back to the system: every free block of 4 MiB and more, and every chunk of 32 MiB, from which
/// smaller blocks are cut, none of whose blocks is in use. Memory of recorded steps stays. Returns the bytes handed
/// back.
size_t release_cached_memory(Device device = Device::cpu());

/// A block of memory on a device, aligned to 64 bytes, counted by StorageRef.
struct Storage {
  std::byte* data = nullptr;
  size_t bytes = 0;
  Device device;
  uint16_t size_class = 0;
  /// Raised by every in-place change; a saved tensor compares it (see autograd/saved_tensor.h).
  std::atomic<uint32_t> version{0};
  std::atomic<uint32_t> references{0};
  Storage* next_free = nullptr;
  /// The storage whose memory this is a part of; null where it has memory of its own. See StorageRef::move_into.
  Storage* parent = nullptr;

  /// Not a read-modify-write: kernels take pointers to one tensor in several threads at once, and any new value will
  /// do.
  void bump_version() { version.store(version.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
};

/// Counted handle to a Storage. Thread-safe counting; the block returns to the allocator with the last handle.
class StorageRef {
 public:
  StorageRef() = default;
  /// Uninitialised memory. Throws DeviceError when the system has no more.
  static StorageRef allocate(size_t bytes, Device device);

  StorageRef(const StorageRef& other) : storage_(other.storage_) {
    if (storage_ != nullptr) storage_->references.fetch_add(1, std::memory_order_relaxed);
  }
  StorageRef(StorageRef&& other) noexcept : storage_(std::exchange(other.storage_, nullptr)) {}
  StorageRef& operator=(StorageRef other) noexcept {
    std::swap(storage_, other.storage_);
    return *this;
  }
  ~StorageRef() { release(); }

  explicit operator bool() const { return storage_ != nullptr; }
  Storage* operator->() const { return storage_; }
  Storage* get() const { return storage_; }
  bool unique() const { return storage_ != nullptr && storage_->references.load(std::memory_order_acquire) == 1; }

  /// From now on the memory of this storage is bytes offset ... offset + bytes - 1 of `parent`, for every handle to it.
  /// Its own block is freed; contents are not copied. parent: on the same device, with memory of its own.
  void move_into(const StorageRef& parent, size_t offset) const;

 private:
  void release() noexcept;
  /// Gives its reference away.
  Storage* detach() { return std::exchange(storage_, nullptr); }

  Storage* storage_ = nullptr;
};

}  // namespace attune
