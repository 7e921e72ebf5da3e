#include "tests/support/heap_counter.h"

#include <atomic>
#include <cstdlib>
#include <new>

// Sanitizers bring an operator new of their own, which checks more than this one counts.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ATTUNE_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ATTUNE_SANITIZED
#endif
#endif

#ifdef ATTUNE_SANITIZED

namespace attune::testing {
uint64_t heap_allocations() { return 0; }
bool sanitized() { return true; }
}  // namespace attune::testing

#else

namespace {

std::atomic<uint64_t> allocations{0};

void* counted(void* memory) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

namespace attune::testing {
uint64_t heap_allocations() { return allocations.load(std::memory_order_relaxed); }
bool sanitized() { return false; }
}  // namespace attune::testing

// The array and nothrow forms of the standard library call these.
void* operator new(size_t bytes) { return counted(std::malloc(bytes > 0 ? bytes : 1)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  const auto align = static_cast<size_t>(alignment);
  return counted(std::aligned_alloc(align, (bytes + align - 1) / align * align));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

#endif
