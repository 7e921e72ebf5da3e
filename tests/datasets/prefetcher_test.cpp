#include "datasets/prefetcher.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

namespace attune {
namespace {

void pause_for(int microseconds) { std::this_thread::sleep_for(std::chrono::microseconds(microseconds)); }

TEST_CASE("prefetcher: all items in order, whoever is slower", "[datasets][loader]") {
  const int depth = GENERATE(0, 1, 2, 5);
  const int slow = GENERATE(0, 1, 2);
  int made = 0;
  Prefetcher<int> prefetcher(depth, [&](int& item) {
    if (slow == 1) pause_for(50);
    item = made;
    return made++ < 200;
  });
  for (int i = 0; i < 200; ++i) {
    if (slow == 2) pause_for(50);
    const int* item = prefetcher.next();
    REQUIRE(item != nullptr);
    // Still the same after the producer had time to go on.
    if (slow == 2) pause_for(50);
    REQUIRE(*item == i);
  }
  CHECK(prefetcher.next() == nullptr);
  CHECK(prefetcher.next() == nullptr);
}

TEST_CASE("prefetcher: works ahead as far as its depth", "[datasets][loader]") {
  std::atomic<int> made = 0;
  Prefetcher<int> prefetcher(3, [&](int& item) {
    item = made++;
    return true;
  });
  while (made < 4) pause_for(10);
  pause_for(2000);
  CHECK(made == 4);
  prefetcher.next();
  pause_for(2000);
  CHECK(made == 4);
  prefetcher.next();
  while (made < 5) pause_for(10);
  pause_for(2000);
  CHECK(made == 5);
  // Destroyed while the producer waits for a slot.
}

TEST_CASE("prefetcher: an error arrives behind the items made before it", "[datasets][loader]") {
  const int depth = GENERATE(0, 3);
  int made = 0;
  Prefetcher<int> prefetcher(depth, [&](int& item) {
    if (made == 2) throw std::runtime_error("item 2");
    item = made++;
    return true;
  });
  CHECK(*prefetcher.next() == 0);
  CHECK(*prefetcher.next() == 1);
  for (int i = 0; i < 2; ++i) {
    CHECK_THROWS_AS(prefetcher.next(), std::runtime_error);
  }
}

}  // namespace
}  // namespace attune
