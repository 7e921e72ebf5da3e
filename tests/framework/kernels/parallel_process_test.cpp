// The pool of threads beside fork(), exit() and a system that has no more threads. Each case runs in a child process.

#include <catch2/catch_test_macros.hpp>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>
#include <thread>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/device.h"
#include "framework/error.h"
#include "framework/kernels/cpu/parallel.h"
#include "tests/support/process.h"
#include "tests/support/tensors.h"

namespace attune::testing {
namespace {

/// Runs f in a child and returns its exit status; 128 + signal when it was killed. A child that hangs is killed.
int status_of(const std::function<int()>& f) {
  std::fflush(nullptr);
  std::cout.flush();
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(f());
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Sum of 0 ... n - 1, by the pool.
int64_t pooled_sum(int64_t n) {
  std::atomic<int64_t> sum{0};
  cpu::parallel_for(n, 1, [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t i = begin; i < end; ++i) sum += i;
  });
  return sum;
}

constexpr int64_t kItems = 1000;
constexpr int64_t kSum = kItems * (kItems - 1) / 2;

/// Restores the number of threads that the test changes.
struct Restored {
  int before = num_threads();
  ~Restored() { set_num_threads(before); }
};

TEST_CASE("a child of fork() computes, changes its number of threads and exits", "[.][exits]") {
  const Restored restored;
  set_num_threads(3);
  REQUIRE(pooled_sum(kItems) == kSum);  // the pool has begun
  CHECK(status_of([] { return pooled_sum(kItems) == kSum ? 0 : 1; }) == 0);
  CHECK(status_of([] {
          if (pooled_sum(kItems) != kSum) return 1;
          set_num_threads(2);
          return pooled_sum(kItems) == kSum ? 0 : 2;
        }) == 0);
  CHECK(status_of([]() -> int {
          (void)pooled_sum(kItems);
          std::exit(5);  // NOLINT(concurrency-mt-unsafe): what is tested
        }) == 5);
}

TEST_CASE("fork() while other threads allocate and compute leaves the child able to do both", "[parallel][process]") {
  const Restored restored;
  set_num_threads(2);
  std::atomic<bool> stop{false};
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      while (!stop) (void)Tensor::full({64}, 1).clone();
    });
  }
  int good = 0;
  for (int i = 0; i < 50; ++i) {
    good += status_of([] { return Tensor::full({300}, 2).clone().to_vector<float>()[299] == 2 ? 0 : 1; }) == 0 ? 1 : 0;
  }
  stop = true;
  for (std::thread& other : others) other.join();
  CHECK(good == 50);
}

TEST_CASE("exit() in a worker ends the process with its status", "[.][exits]") {
  const Restored restored;
  set_num_threads(2);
  CHECK(status_of([] {
          const auto caller = std::this_thread::get_id();
          for (;;) {
            cpu::parallel_for(2, 1, [&](int64_t, int64_t, int64_t) {
              if (std::this_thread::get_id() != caller) std::exit(7);  // NOLINT(concurrency-mt-unsafe)
              usleep(1000);
            });
          }
          return 0;
        }) == 7);
}

TEST_CASE("a worker that ends inside a task is an error, and the pool goes on without it", "[parallel][process]") {
  const Restored restored;
  set_num_threads(2);
  CHECK(status_of([] {
          const auto caller = std::this_thread::get_id();
          std::string text;
          while (text.empty()) {
            try {
              cpu::parallel_for(2, 1, [&](int64_t, int64_t, int64_t) {
                if (std::this_thread::get_id() != caller) pthread_exit(nullptr);
                usleep(1000);
              });
            } catch (const Error& error) {
              text = error.what();
            }
          }
          if (text.find("cancelled") == std::string::npos) return 1;
          return pooled_sum(kItems) == kSum ? 0 : 2;
        }) == 0);
}

TEST_CASE("ops may run in destructors of static objects", "[parallel][process]") {
  const Restored restored;
  set_num_threads(2);
  CHECK(status_of([]() -> int {
          struct Late {
            ~Late() {
              const Variable x(Tensor::full({64, 64}, 2), true);
              const Variable y = sum(matmul(x, x));
              y.backward();
              _exit(y.item() == 64 * 64 * 64 * 4 && x.grad().defined() && pooled_sum(kItems) == kSum ? 9 : 1);
            }
          };
          static const Late late;
          // The tape and the scratch memory of this thread are gone when `late` goes.
          const Variable before(Tensor::full({8}, 1), true);
          sum(before).backward();
          std::exit(3);  // NOLINT(concurrency-mt-unsafe): what is tested
        }) == 9);
}

TEST_CASE("a system without more threads is an error that says how many there could be",
          "[parallel][process][release]") {
  const Restored restored;
  CHECK(status_of([] {
          rlimit limit{};
          getrlimit(RLIMIT_AS, &limit);
          // Room for what there is and for a few stacks.
          std::FILE* file = std::fopen("/proc/self/statm", "r");
          long pages = 0;
          if (file == nullptr || std::fscanf(file, "%ld", &pages) != 1) return 10;
          std::fclose(file);
          limit.rlim_cur =
              static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (rlim_t{100} << 20);
          if (setrlimit(RLIMIT_AS, &limit) != 0) return 11;
          set_num_threads(512);
          try {
            (void)pooled_sum(kItems);
            return 12;
          } catch (const DeviceError& error) {
            const std::string text = error.what();
            if (text.find("512 threads asked for, ") != 0 || text.find("can be started") == std::string::npos)
              return 13;
          }
          set_num_threads(2);
          return pooled_sum(kItems) == kSum ? 0 : 14;
        }) == 0);
}

// exit() runs what every library that was ever opened has left for then: CUDA's, for instance, after other tests.
TEST_CASE("in a process of its own a child and a worker may call exit()", "[parallel][process]") {
  const Finished finished = run("attune-tests", {"[exits]"});
  INFO(finished.out << finished.err);
  CHECK(finished.status == 0);
  CHECK(finished.out.find("in 2 test cases") != std::string::npos);
}

}  // namespace
}  // namespace attune::testing
