#include "framework/storage.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <vector>

#include "framework/fail.h"

namespace attune {
namespace {

// Size classes: four per doubling, so that at most a quarter of a block is unused and blocks are interchangeable
// within a class. No splitting, no coalescing: a training step asks for the same sizes again and again.
constexpr size_t kSmallest = 64;
constexpr size_t kClasses = 4 * 42;
// Blocks below this size are cut from chunks on huge pages; larger ones are mapped one by one.
constexpr size_t kChunk = size_t{32} << 20;
constexpr size_t kLargeBlock = size_t{4} << 20;
constexpr size_t kHugePage = size_t{2} << 20;

size_t class_of(size_t bytes) {
  const size_t units = std::max(bytes, kSmallest) - 1;
  const auto doubling = static_cast<size_t>(std::bit_width(units)) - 1;  // 2^doubling <= units < 2^(doubling + 1)
  const size_t quarter = (units >> (doubling - 2)) & 3;
  return (doubling - 5) * 4 + quarter;
}

size_t class_bytes(size_t size_class) {
  const size_t doubling = size_class / 4 + 5;
  const size_t bytes = (size_class % 4 + 5) << (doubling - 2);
  return (bytes + 63) / 64 * 64;
}

class CpuAllocator {
 public:
  Storage* allocate(size_t bytes) {
    const std::lock_guard lock(mutex_);
    const size_t size_class = class_of(bytes);
    Storage* storage = take(size_class);
    if (storage == nullptr) storage = carve(size_class);
    storage->bytes = bytes;
    storage->version = 0;
    storage->references.store(1, std::memory_order_relaxed);
    stats_.bytes_in_use += class_bytes(storage->size_class);
    stats_.peak_bytes_in_use = std::max(stats_.peak_bytes_in_use, stats_.bytes_in_use);
    return storage;
  }

  void free(Storage* storage) noexcept {
    const std::lock_guard lock(mutex_);
    stats_.bytes_in_use -= class_bytes(storage->size_class);
    storage->next_free = free_[storage->size_class];
    free_[storage->size_class] = storage;
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak_bytes_in_use = stats_.bytes_in_use;
  }

  void release() {
    const std::lock_guard lock(mutex_);
    for (size_t size_class = 0; size_class < kClasses; ++size_class) {
      if (class_bytes(size_class) < kLargeBlock) continue;
      while (Storage* storage = free_[size_class]) {
        free_[size_class] = storage->next_free;
        munmap(storage->data, mapped_bytes(size_class));
        stats_.bytes_reserved -= mapped_bytes(size_class);
        storage->data = nullptr;
        storage->next_free = headers_;
        headers_ = storage;
      }
    }
  }

 private:
  // A block of the class itself, or of one of the next three (less than twice as large).
  Storage* take(size_t size_class) {
    const size_t last = std::min(kClasses, size_class + 4);
    for (size_t c = size_class; c < last; ++c) {
      if (Storage* storage = free_[c]) {
        free_[c] = storage->next_free;
        return storage;
      }
    }
    return nullptr;
  }

  Storage* carve(size_t size_class) {
    const size_t bytes = class_bytes(size_class);
    std::byte* data = nullptr;
    if (bytes >= kLargeBlock) {
      data = map(mapped_bytes(size_class));
    } else {
      if (chunk_left_ < bytes) {
        chunk_ = map(kChunk);
        chunk_left_ = kChunk;
      }
      data = chunk_;
      chunk_ += bytes;
      chunk_left_ -= bytes;
    }
    Storage* storage = header();
    storage->data = data;
    storage->size_class = static_cast<uint16_t>(size_class);
    return storage;
  }

  static size_t mapped_bytes(size_t size_class) {
    return (class_bytes(size_class) + kHugePage - 1) / kHugePage * kHugePage;
  }

  std::byte* map(size_t bytes) {
    // Mapping a little more lets the block begin on a huge page.
    void* raw = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require<DeviceError>(raw != MAP_FAILED,
                         "cpu allocator: the system refused {} bytes ({} in use); use smaller batches", bytes,
                         stats_.bytes_in_use);
    auto* begin = static_cast<std::byte*>(raw);
    const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
    if (before > 0) munmap(begin, before);
    munmap(begin + before + bytes, kHugePage - before);
    madvise(begin + before, bytes, MADV_HUGEPAGE);
    stats_.bytes_reserved += bytes;
    ++stats_.system_allocations;
    return begin + before;
  }

  Storage* header() {
    if (headers_ == nullptr) {
      constexpr size_t kBatch = 256;
      auto* batch = new Storage[kBatch];  // never freed: headers are recycled for the life of the process
      for (size_t i = 0; i < kBatch; ++i) {
        batch[i].next_free = headers_;
        headers_ = &batch[i];
      }
    }
    Storage* storage = headers_;
    headers_ = storage->next_free;
    return storage;
  }

  std::mutex mutex_;
  MemoryStats stats_;
  std::array<Storage*, kClasses> free_{};
  Storage* headers_ = nullptr;
  std::byte* chunk_ = nullptr;
  size_t chunk_left_ = 0;
};

// Leaked on purpose: tensors with static storage duration may be freed after any destructor order we could choose.
CpuAllocator& cpu_allocator() {
  static auto* allocator = new CpuAllocator;
  return *allocator;
}

void require_cpu(Device device) {
  require<DeviceError>(device.is_cpu(), "{}: this build of Attune has no CUDA backend; use the cpu device", device);
}

}  // namespace

StorageRef StorageRef::allocate(size_t bytes, Device device) {
  require_cpu(device);
  StorageRef ref;
  ref.storage_ = cpu_allocator().allocate(bytes);
  return ref;
}

void StorageRef::release() noexcept {
  if (storage_ != nullptr && storage_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    cpu_allocator().free(storage_);
  }
  storage_ = nullptr;
}

MemoryStats memory_stats(Device device) {
  require_cpu(device);
  return cpu_allocator().stats();
}

void reset_peak_memory(Device device) {
  require_cpu(device);
  cpu_allocator().reset_peak();
}

void release_cached_memory(Device device) {
  require_cpu(device);
  cpu_allocator().release();
}

}  // namespace attune
