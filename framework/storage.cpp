#include "framework/storage.h"

#include <sys/mman.h>

#include <array>

#include "framework/allocation_limit.h"
#include "framework/caching_allocator.h"
#include "framework/cuda_plugin.h"
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
CachingAllocator& cpu_allocator() {
  static auto* allocator = new CachingAllocator(Device::cpu(), {map, unmap});
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
  if (storage_ != nullptr && storage_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    if (storage_->device.is_cpu()) [[likely]] {
      cpu_allocator().free(storage_);
    } else {
      free_cuda(storage_);
    }
  }
  storage_ = nullptr;
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
void release_cached_memory(Device device) { allocator(device).release(); }

}  // namespace attune
