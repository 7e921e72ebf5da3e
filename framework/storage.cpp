#include "framework/storage.h"

#include <pthread.h>
#include <sys/mman.h>

#include <array>
#include <utility>

#include "framework/allocation_limit.h"
#include "framework/caching_allocator.h"
#include "framework/cuda_plugin.h"
#include "framework/fail.h"
#include "framework/step_capture.h"

namespace attune {
namespace {

constexpr size_t kPageBytes = size_t{2} << 20;

std::byte* map(size_t bytes, Device) {
  // Mapping a little more lets the block begin on a huge page.
  void* raw = mmap(nullptr, bytes + kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  auto* begin = static_cast<std::byte*>(raw);
  const size_t before = (kPageBytes - reinterpret_cast<uintptr_t>(begin) % kPageBytes) % kPageBytes;
  if (before > 0) munmap(begin, before);
  munmap(begin + before + bytes, kPageBytes - before);
  madvise(begin + before, bytes, MADV_HUGEPAGE);
  return begin + before;
}

void unmap(std::byte* block, size_t bytes, Device) noexcept { munmap(block, bytes); }

// Leaked on purpose: tensors with static storage duration may be freed after any destructor order we could choose.
// A process that another thread forks must not find the allocator locked for ever: held over fork(), as malloc does.
CachingAllocator& cpu_allocator() {
  static auto* allocator = [] {
    static CachingAllocator* made = new CachingAllocator(Device::cpu(), {map, unmap});
    pthread_atfork([] { made->lock(); }, [] { made->unlock(); }, [] { made->unlock(); });
    return made;
  }();
  return *allocator;
}

/// recorded: that of recorded steps.
CachingAllocator& cuda_allocator(int index, bool recorded) {
  static auto* allocators = [] {
    auto* all = new std::array<CachingAllocator*, size_t{2} * kMaxCudaDevices>;
    for (size_t i = 0; i < all->size(); ++i) {
      (*all)[i] = new CachingAllocator(
          Device::cuda(static_cast<int>(i / 2)),
          {[](size_t bytes, Device device) {
             return static_cast<std::byte*>(cuda_plugin().reserve(bytes, device.index));
           },
           [](std::byte* block, size_t, Device device) noexcept { cuda_plugin().give_back(block, device.index); }},
          i % 2 == 1);
    }
    return all;
  }();
  return *(*allocators)[2 * static_cast<size_t>(index) + (recorded ? 1 : 0)];
}

CachingAllocator& allocator(Device device) {
  if (device.is_cpu()) return cpu_allocator();
  require_device(device);
  return cuda_allocator(device.index, StepCapture::current() != nullptr);
}

}  // namespace

StorageRef StorageRef::allocate(size_t bytes, Device device) {
  AllocationLimit::take(bytes);
  StorageRef ref;
  ref.storage_ = allocator(device).allocate(bytes);
  return ref;
}

void StorageRef::release() noexcept {
  Storage* storage = std::exchange(storage_, nullptr);
  while (storage != nullptr && storage->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    Storage* const parent = storage->parent;
    if (storage->device.is_cpu()) [[likely]] {
      cpu_allocator().free(storage);
    } else {
      free_cuda(storage);
    }
    storage = parent;
  }
}

void StorageRef::move_into(const StorageRef& parent, size_t offset) const {
  require<ValueError>(
      storage_ != nullptr && parent && storage_ != parent.storage_ && parent->parent == nullptr &&
          storage_->device == parent->device && offset + storage_->bytes <= parent->bytes,
      "StorageRef::move_into: {} bytes at {} are not a part of a storage of {} bytes on the same device",
      storage_ != nullptr ? storage_->bytes : 0, offset, parent ? parent->bytes : 0);
  StorageRef before;
  if (storage_->parent != nullptr) {
    before.storage_ = std::exchange(storage_->parent, nullptr);
  } else {
    CachingAllocator& owner =
        storage_->device.is_cpu() ? cpu_allocator() : cuda_allocator(storage_->device.index, is_recorded(*storage_));
    owner.free_block_of(storage_);
  }
  storage_->parent = StorageRef(parent).detach();
  storage_->data = parent->data + offset;
}

Storage* allocate_cuda(size_t bytes, int device) { return allocator(Device::cuda(device)).allocate(bytes); }
void free_cuda(Storage* storage) noexcept {
  cuda_allocator(storage->device.index, is_recorded(*storage)).free(storage);
}

MemoryStats memory_stats(Device device) {
  MemoryStats stats = allocator(device).stats();
  if (device.is_cpu()) return stats;
  const MemoryStats recorded = cuda_allocator(device.index, true).stats();
  stats.bytes_in_use += recorded.bytes_in_use;
  stats.peak_bytes_in_use += recorded.peak_bytes_in_use;
  stats.bytes_reserved += recorded.bytes_reserved;
  stats.system_allocations += recorded.system_allocations;
  return stats;
}
void reset_peak_memory(Device device) { allocator(device).reset_peak(); }
size_t release_cached_memory(Device device) { return allocator(device).release(); }

}  // namespace attune
