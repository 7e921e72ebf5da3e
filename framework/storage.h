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
/// Hands cached large blocks back to the system.
void release_cached_memory(Device device = Device::cpu());

/// A block of memory on a device, aligned to 64 bytes, counted by StorageRef.
struct Storage {
  std::byte* data = nullptr;
  size_t bytes = 0;
  Device device;
  /// Raised by every in-place change; a saved tensor compares it (see autograd/saved_tensor.h).
  uint32_t version = 0;
  uint16_t size_class = 0;
  std::atomic<uint32_t> references{0};
  Storage* next_free = nullptr;
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

 private:
  void release() noexcept;

  Storage* storage_ = nullptr;
};

}  // namespace attune
