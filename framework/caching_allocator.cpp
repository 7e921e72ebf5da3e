#include "framework/caching_allocator.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <map>

#include "framework/fail.h"

namespace attune {
namespace {

constexpr size_t kSmallest = 64;
// Blocks below this size are cut from chunks; larger ones are reserved one by one.
constexpr size_t kChunk = size_t{32} << 20;
constexpr size_t kLargeBlock = size_t{4} << 20;
constexpr size_t kHugePage = size_t{2} << 20;

size_t class_of(size_t bytes) {
  const size_t units = std::max(bytes, kSmallest) - 1;
  const auto doubling = static_cast<size_t>(std::bit_width(units)) - 1;  // 2^doubling <= units < 2^(doubling + 1)
  const size_t quarter = (units >> (doubling - 2)) & 3;
  return (doubling - 5) * 4 + quarter;
}

size_t class_of(const Storage& storage) { return storage.size_class & ~kRecorded; }

size_t class_bytes(size_t size_class) {
  const size_t doubling = size_class / 4 + 5;
  const size_t bytes = (size_class % 4 + 5) << (doubling - 2);
  return (bytes + 63) / 64 * 64;
}

size_t large_bytes(size_t size_class) { return (class_bytes(size_class) + kHugePage - 1) / kHugePage * kHugePage; }

}  // namespace

Storage* CachingAllocator::allocate(size_t bytes) {
  const std::lock_guard lock(mutex_);
  const size_t size_class = class_of(bytes);
  Storage* storage = take(size_class);
  if (storage == nullptr) storage = carve(size_class);
  storage->bytes = bytes;
  storage->version.store(0, std::memory_order_relaxed);
  storage->references.store(1, std::memory_order_relaxed);
  stats_.bytes_in_use += class_bytes(class_of(*storage));
  stats_.peak_bytes_in_use = std::max(stats_.peak_bytes_in_use, stats_.bytes_in_use);
  return storage;
}

void CachingAllocator::free(Storage* storage) noexcept {
  const std::lock_guard lock(mutex_);
  if (storage->parent != nullptr) {
    recycle(storage);
  } else {
    put_free(storage);
  }
}

void CachingAllocator::free_block_of(Storage* storage) noexcept {
  const std::lock_guard lock(mutex_);
  Storage* block = header();
  block->data = storage->data;
  block->device = device_;
  block->size_class = storage->size_class;
  put_free(block);
}

MemoryStats CachingAllocator::stats() {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_bytes_in_use = stats_.bytes_in_use;
}

size_t CachingAllocator::release() {
  const std::lock_guard lock(mutex_);
  return mark_ == 0 ? release_free() : 0;
}

// A block of the class itself, or of one of the next three (less than twice as large).
Storage* CachingAllocator::take(size_t size_class) {
  const size_t last = std::min(kClasses, size_class + 4);
  for (size_t c = size_class; c < last; ++c) {
    if (Storage* storage = free_[c]) {
      free_[c] = storage->next_free;
      return storage;
    }
  }
  return nullptr;
}

Storage* CachingAllocator::carve(size_t size_class) {
  const size_t bytes = class_bytes(size_class);
  std::byte* data = nullptr;
  if (bytes >= kLargeBlock) {
    data = reserve(large_bytes(size_class));
  } else {
    if (chunks_.empty() || kChunk - chunks_.back().used < bytes) chunks_.push_back({reserve(kChunk), 0});
    Chunk& chunk = chunks_.back();
    data = chunk.begin + chunk.used;
    chunk.used += bytes;
  }
  Storage* storage = header();
  storage->data = data;
  storage->device = device_;
  storage->size_class = static_cast<uint16_t>(size_class | mark_);
  return storage;
}

std::byte* CachingAllocator::reserve(size_t bytes) {
  std::byte* block = source_.reserve(bytes, device_);
  if (block == nullptr && mark_ == 0) {
    release_free();
    block = source_.reserve(bytes, device_);
  }
  require<DeviceError>(block != nullptr,
                       "{} allocator: out of memory: {} bytes asked for, {} in use; use smaller batches", device_,
                       bytes, stats_.bytes_in_use);
  stats_.bytes_reserved += bytes;
  ++stats_.system_allocations;
  return block;
}

size_t CachingAllocator::release_free() {
  size_t released = 0;
  for (size_t size_class = 0; size_class < kClasses; ++size_class) {
    if (class_bytes(size_class) < kLargeBlock) continue;
    while (Storage* storage = free_[size_class]) {
      free_[size_class] = storage->next_free;
      source_.give_back(storage->data, large_bytes(size_class), device_);
      released += large_bytes(size_class);
      recycle(storage);
    }
  }
  released += release_chunks();
  stats_.bytes_reserved -= released;
  return released;
}

// A chunk is free when what was cut from it is, block by block, in the lists of free blocks.
size_t CachingAllocator::release_chunks() {
  std::map<std::byte*, size_t, std::greater<>> in_use;  // begin of a chunk to the bytes of it that are handed out
  for (const Chunk& chunk : chunks_) in_use.emplace(chunk.begin, chunk.used);
  const auto of = [&](const Storage& storage) -> size_t& { return in_use.lower_bound(storage.data)->second; };
  const auto each_small_list = [&](auto&& f) {
    for (size_t size_class = 0; size_class < kClasses && class_bytes(size_class) < kLargeBlock; ++size_class) {
      f(free_[size_class], class_bytes(size_class));
    }
  };
  each_small_list([&](Storage* first, size_t bytes) {
    for (const Storage* storage = first; storage != nullptr; storage = storage->next_free) of(*storage) -= bytes;
  });
  each_small_list([&](Storage*& first, size_t) {
    Storage** link = &first;
    while (Storage* storage = *link) {
      if (of(*storage) > 0) {
        link = &storage->next_free;
        continue;
      }
      *link = storage->next_free;
      recycle(storage);
    }
  });
  return kChunk * std::erase_if(chunks_, [&](const Chunk& chunk) {
           if (in_use.at(chunk.begin) > 0) return false;
           source_.give_back(chunk.begin, kChunk, device_);
           return true;
         });
}

void CachingAllocator::put_free(Storage* storage) {
  const size_t size_class = class_of(*storage);
  stats_.bytes_in_use -= class_bytes(size_class);
  storage->next_free = free_[size_class];
  free_[size_class] = storage;
}

Storage* CachingAllocator::header() {
  if (headers_ == nullptr) {
    constexpr size_t kBatch = 256;
    auto* batch = new Storage[kBatch];  // never freed: headers are recycled for the life of the process
    for (size_t i = 0; i < kBatch; ++i) recycle(&batch[i]);
  }
  Storage* storage = headers_;
  headers_ = storage->next_free;
  return storage;
}

void CachingAllocator::recycle(Storage* header) {
  header->data = nullptr;
  header->parent = nullptr;
  header->next_free = headers_;
  headers_ = header;
}

}  // namespace attune
