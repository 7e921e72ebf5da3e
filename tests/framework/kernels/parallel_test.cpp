#include "framework/kernels/cpu/parallel.h"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "framework/device.h"
#include "framework/error.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

/// Sets the number of threads for a test.
class Threads {
 public:
  explicit Threads(int count) : before_(num_threads()) { set_num_threads(count); }
  ~Threads() { set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

// How often every item was visited.
std::vector<int> visits(int64_t n, int64_t grain) {
  std::vector<int> seen(static_cast<size_t>(n));
  cpu::parallel_for(n, grain, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
  });
  return seen;
}

TEST_CASE("parallel_for visits every item once", "[parallel]") {
  for (const int threads : {1, 2, 3, 8}) {
    const Threads scope(threads);
    for (const int64_t n : {0, 1, 2, 7, 64, 1000}) {
      for (const int64_t grain : {0, 1, 3, 500, 5000}) {
        INFO(threads << " threads, " << n << " items, grain " << grain);
        CHECK(visits(n, grain) == std::vector<int>(static_cast<size_t>(n), 1));
      }
    }
  }
}

TEST_CASE("ranges depend on the number of threads only and hold the grain", "[parallel]") {
  const Threads scope(4);
  for (int repeat = 0; repeat < 20; ++repeat) {
    // Catch2's checks belong to one thread: the others only write down what they were given.
    std::vector<int64_t> begins(4, -1), ends(4, -1);
    cpu::parallel_for(103, 10, [&](int64_t begin, int64_t end, int64_t chunk) {
      begins.at(static_cast<size_t>(chunk)) = begin;
      ends.at(static_cast<size_t>(chunk)) = end;
    });
    CHECK(begins == std::vector<int64_t>{0, 25, 51, 77});
    CHECK(ends == std::vector<int64_t>{25, 51, 77, 103});
  }
  int chunks = 0;
  cpu::parallel_for(19, 10, [&](int64_t, int64_t, int64_t) { ++chunks; });
  CHECK(chunks == 1);
}

TEST_CASE("parallel_tasks runs every task once, also more than there are threads", "[parallel]") {
  for (const int threads : {1, 2, 5}) {
    const Threads scope(threads);
    for (const int64_t tasks : {0, 1, 3, 100}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(tasks));
      cpu::parallel_tasks(tasks, [&](int64_t task) { ++seen[static_cast<size_t>(task)]; });
      for (const auto& count : seen) CHECK(count == 1);
    }
  }
}

TEST_CASE("a parallel run inside another stays in its thread", "[parallel]") {
  const Threads scope(3);
  std::atomic<int64_t> total{0};
  cpu::parallel_tasks(6, [&](int64_t) {
    const auto self = std::this_thread::get_id();
    cpu::parallel_for(100, 1, [&](int64_t begin, int64_t end, int64_t) {
      if (std::this_thread::get_id() == self) total += end - begin;
    });
  });
  CHECK(total == 600);
}

TEST_CASE("several threads may run in parallel at a time, while the number of threads changes", "[parallel]") {
  const Threads scope(2);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int repeat = 0; repeat < 200; ++repeat) {
        if (caller == 0 && repeat % 10 == 0) set_num_threads(1 + repeat / 10 % 4);
        if (visits(1000, 10) != std::vector<int>(1000, 1)) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0);
}

TEST_CASE("an exception in a task comes out of the call and leaves the pool usable", "[parallel]") {
  for (const int threads : {1, 2, 4}) {
    const Threads scope(threads);
    for (int repeat = 0; repeat < 50; ++repeat) {
      const std::string text = testing::error_text<ValueError>([&] {
        cpu::parallel_tasks(32, [&](int64_t task) {
          if (task % 8 == repeat % 8) throw ValueError("task: refused");
        });
      });
      CHECK(text == "task: refused");
      CHECK(visits(100, 1) == std::vector<int>(100, 1));
    }
  }
}

TEST_CASE("results of workers are visible to the caller", "[parallel]") {
  const Threads scope(2);
  std::vector<int64_t> squares(1 << 16);
  for (int repeat = 0; repeat < 100; ++repeat) {
    cpu::parallel_for(1 << 16, 1, [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; ++i) squares[static_cast<size_t>(i)] = i + repeat;
    });
    const int64_t n = 1 << 16;
    CHECK(std::accumulate(squares.begin(), squares.end(), int64_t{0}) == n * (n - 1) / 2 + n * repeat);
  }
}

TEST_CASE("the number of threads is checked", "[parallel][errors]") {
  CHECK(testing::error_text<ValueError>([] { set_num_threads(0); }).find("0 threads") != std::string::npos);
  CHECK(testing::error_text<ValueError>([] { set_num_threads(-3); }).find("-3") != std::string::npos);
}

TEST_CASE("scratch memory belongs to the thread and its slot", "[parallel]") {
  auto* a = cpu::scratch<float>(0, 100);
  auto* b = cpu::scratch<float>(1, 100);
  CHECK(a != b);
  CHECK(reinterpret_cast<uintptr_t>(a) % 64 == 0);
  CHECK(cpu::scratch<float>(0, 50) == a);
  void* other = nullptr;
  std::thread([&] { other = cpu::scratch<float>(0, 100); }).join();
  CHECK(other != a);
}

}  // namespace
}  // namespace attune
