#include "framework/storage.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "framework/error.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

StorageRef allocate(size_t bytes) { return StorageRef::allocate(bytes, Device::cpu()); }

constexpr size_t kMiB = size_t{1} << 20;

TEST_CASE("blocks are aligned, usable to the last byte and apart from each other", "[storage]") {
  std::vector<StorageRef> blocks;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{1000}, size_t{1 << 16},
                             size_t{1 << 20}, 5 * kMiB + 1}) {
    for (int repeat = 0; repeat < 3; ++repeat) {
      const StorageRef& block = blocks.emplace_back(allocate(bytes));
      CHECK(reinterpret_cast<uintptr_t>(block->data) % 64 == 0);
      CHECK(block->bytes == bytes);
      std::memset(block->data, static_cast<int>(blocks.size()), bytes);
    }
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto* data = reinterpret_cast<const unsigned char*>(blocks[i]->data);
    CHECK(std::all_of(data, data + blocks[i]->bytes, [&](unsigned char byte) { return byte == i + 1; }));
  }
}

TEST_CASE("a freed block is handed out again without asking the system", "[storage]") {
  for (const size_t bytes : {size_t{100}, size_t{300000}, 9 * kMiB}) {
    const std::byte* first = allocate(bytes)->data;
    const MemoryStats before = memory_stats();
    for (int repeat = 0; repeat < 100; ++repeat) {
      const StorageRef again = allocate(bytes);
      CHECK(again->data == first);
    }
    CHECK(memory_stats().system_allocations == before.system_allocations);
    CHECK(memory_stats().bytes_reserved == before.bytes_reserved);
  }
}

TEST_CASE("statistics follow what is in use", "[storage]") {
  const size_t before = memory_stats().bytes_in_use;
  reset_peak_memory();
  {
    const StorageRef a = allocate(3 * kMiB);
    const MemoryStats one = memory_stats();
    CHECK(one.bytes_in_use >= before + 3 * kMiB);
    CHECK(one.bytes_in_use <= before + 4 * kMiB);
    const StorageRef same = a;  // NOLINT: a second handle, not a second block
    CHECK(memory_stats().bytes_in_use == one.bytes_in_use);
    const StorageRef b = allocate(kMiB);
    CHECK(memory_stats().bytes_in_use >= one.bytes_in_use + kMiB);
  }
  CHECK(memory_stats().bytes_in_use == before);
  CHECK(memory_stats().peak_bytes_in_use >= before + 4 * kMiB);
  CHECK(memory_stats().bytes_reserved >= memory_stats().peak_bytes_in_use);
  reset_peak_memory();
  CHECK(memory_stats().peak_bytes_in_use == before);
}

TEST_CASE("cached large blocks can be handed back to the system", "[storage]") {
  allocate(40 * kMiB);
  const size_t reserved = memory_stats().bytes_reserved;
  release_cached_memory();
  CHECK(memory_stats().bytes_reserved + 40 * kMiB <= reserved);
  const StorageRef again = allocate(40 * kMiB);
  std::memset(again->data, 1, again->bytes);
}

TEST_CASE("handles count", "[storage]") {
  StorageRef a = allocate(10);
  CHECK(a.unique());
  StorageRef b = a;
  CHECK_FALSE(a.unique());
  CHECK(b.get() == a.get());
  StorageRef c = std::move(b);
  CHECK_FALSE(static_cast<bool>(b));  // NOLINT: what a move leaves behind is empty
  c = StorageRef();
  CHECK(a.unique());
  CHECK_FALSE(c.unique());
  a = *&a;
  CHECK(a.unique());
}

TEST_CASE("threads allocate and free at once", "[storage]") {
  const size_t before = memory_stats().bytes_in_use;
  std::vector<std::thread> threads;
  std::atomic<int> damaged{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<StorageRef> mine;
      for (int i = 0; i < 2000; ++i) {
        mine.push_back(allocate(static_cast<size_t>(1 + i * 37 % 5000)));
        std::memset(mine.back()->data, t, mine.back()->bytes);
        if (mine.size() > 20) {
          const auto* data = reinterpret_cast<const char*>(mine.front()->data);
          if (!std::all_of(data, data + mine.front()->bytes, [&](char byte) { return byte == t; })) ++damaged;
          mine.erase(mine.begin());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(damaged == 0);
  CHECK(memory_stats().bytes_in_use == before);
}

TEST_CASE("what the system cannot give is an error, not a crash", "[storage][errors]") {
  const std::string text = testing::error_text<DeviceError>([] { allocate(size_t{1} << 46); });
  CHECK(text.find("cpu allocator") == 0);
  CHECK_THROWS_AS(allocate(~size_t{0} / 2), DeviceError);
  CHECK_THROWS_AS(StorageRef::allocate(8, Device::cuda(99)), DeviceError);
}

}  // namespace
}  // namespace attune
