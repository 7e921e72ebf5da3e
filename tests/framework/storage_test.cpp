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
  release_cached_memory();  // or a larger block that another test has left is given out
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

TEST_CASE("chunks whose blocks are all free are handed back, those with a block in use are not", "[storage]") {
  release_cached_memory();
  const size_t before = memory_stats().bytes_reserved;
  std::vector<StorageRef> blocks;
  for (int i = 0; i < 800; ++i) blocks.push_back(allocate(kMiB / 4));  // 200 MiB in chunks of 32 MiB
  const size_t full = memory_stats().bytes_reserved;
  CHECK(full >= before + 160 * kMiB);
  const StorageRef kept = blocks[400];
  std::memset(kept->data, 7, kept->bytes);
  blocks.clear();
  const size_t released = release_cached_memory();
  CHECK(released >= 128 * kMiB);
  CHECK(memory_stats().bytes_reserved + released == full);
  CHECK(memory_stats().bytes_reserved <= before + 64 * kMiB);
  CHECK(release_cached_memory() == 0);
  CHECK(std::all_of(kept->data, kept->data + kept->bytes, [](std::byte b) { return b == std::byte{7}; }));
  // What is left and what is new go on working.
  for (int i = 0; i < 300; ++i) blocks.push_back(allocate(kMiB / 4));
  for (size_t i = 0; i < blocks.size(); ++i) std::memset(blocks[i]->data, static_cast<int>(i), blocks[i]->bytes);
  for (size_t i = 0; i < blocks.size(); ++i) CHECK(static_cast<size_t>(blocks[i]->data[100]) == i % 256);
  CHECK(kept->data[100] == std::byte{7});
}

TEST_CASE("a storage moves into another with all its handles", "[storage]") {
  const size_t in_use = memory_stats().bytes_in_use;
  {
    StorageRef large = allocate(1000);
    StorageRef small = allocate(64);
    const StorageRef handle = small;
    const size_t both = memory_stats().bytes_in_use;
    small.move_into(large, 128);
    CHECK(handle->data == large->data + 128);
    CHECK(memory_stats().bytes_in_use == both - 64);
    CHECK_FALSE(large.unique());
    std::byte* const address = large->data;
    large = StorageRef();  // lives as long as its part
    CHECK(handle->data == address + 128);
    StorageRef other = allocate(64);
    small.move_into(other, 0);
    CHECK(handle->data == other->data);
    CHECK(testing::error_text<ValueError>([&] { small.move_into(other, 1); }).find("64 bytes at 1") !=
          std::string::npos);
    CHECK_THROWS_AS(other.move_into(other, 0), ValueError);
    CHECK_THROWS_AS(allocate(8).move_into(small, 0), ValueError);
  }
  CHECK(memory_stats().bytes_in_use == in_use);
}

}  // namespace
}  // namespace attune
