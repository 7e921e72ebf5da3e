#include "framework/storage.h"

#include <sys/mman.h>

#include <array>

#include "framework/caching_allocator.h"
#include "framework/cuda_plugin.h"

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

CachingAllocator& cuda_allocator(int index) {
  static auto* allocators = [] {
    auto* all = new std::array<CachingAllocator*, kMaxCudaDevices>;
    for (int i = 0; i < kMaxCudaDevices; ++i) {
      (*all)[static_cast<size_t>(i)] = new CachingAllocator(
          Device::cuda(i),
          {[](size_t bytes, Device device) {
             return static_cast<std::byte*>(cuda_plugin().reserve(bytes, device.index));
           },
           [](std::byte* block, size_t, Device device) noexcept { cuda_plugin().give_back(block, device.index); }});
    }
    return all;
  }();
  return *(*allocators)[static_cast<size_t>(index)];
}

CachingAllocator& allocator(Device device) {
  if (device.is_cpu()) return cpu_allocator();
  require_device(device);
  return cuda_allocator(device.index);
}

}  // namespace

StorageRef StorageRef::allocate(size_t bytes, Device device) {
  StorageRef ref;
  ref.storage_ = allocator(device).allocate(bytes);
  return ref;
}

void StorageRef::release() noexcept {
  if (storage_ != nullptr && storage_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    if (storage_->device.is_cpu()) [[likely]] {
      cpu_allocator().free(storage_);
    } else {
      cuda_allocator(storage_->device.index).free(storage_);
    }
  }
  storage_ = nullptr;
}

Storage* allocate_cuda(size_t bytes, int device) { return allocator(Device::cuda(device)).allocate(bytes); }
void free_cuda(Storage* storage) noexcept { cuda_allocator(storage->device.index).free(storage); }

MemoryStats memory_stats(Device device) { return allocator(device).stats(); }
void reset_peak_memory(Device device) { allocator(device).reset_peak(); }
void release_cached_memory(Device device) { allocator(device).release(); }

}  // namespace attune
