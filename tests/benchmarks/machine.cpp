#include "tests/benchmarks/machine.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "framework/device.h"
#include "framework/kernels/cpu/parallel.h"
#include "tests/benchmarks/timing.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/benchmarks/machine.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace attune::bench::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Twelve independent chains cover the latency of two units. Returns the operations done.
double multiply_add(int64_t rounds, float& sink) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const V x = hn::Set(d, 0.999f);
  const V y = hn::Set(d, 0.001f);
  // Different starts, or the compiler computes equal chains once.
  const auto start = [&](int i) HWY_ATTR { return hn::Set(d, 0.01f * static_cast<float>(i)); };
  V a0 = start(0), a1 = start(1), a2 = start(2), a3 = start(3), a4 = start(4), a5 = start(5), a6 = start(6);
  V a7 = start(7), a8 = start(8), a9 = start(9), a10 = start(10), a11 = start(11);
  for (int64_t i = 0; i < rounds; ++i) {
    a0 = hn::MulAdd(a0, x, y);
    a1 = hn::MulAdd(a1, x, y);
    a2 = hn::MulAdd(a2, x, y);
    a3 = hn::MulAdd(a3, x, y);
    a4 = hn::MulAdd(a4, x, y);
    a5 = hn::MulAdd(a5, x, y);
    a6 = hn::MulAdd(a6, x, y);
    a7 = hn::MulAdd(a7, x, y);
    a8 = hn::MulAdd(a8, x, y);
    a9 = hn::MulAdd(a9, x, y);
    a10 = hn::MulAdd(a10, x, y);
    a11 = hn::MulAdd(a11, x, y);
  }
  const V total =
      hn::Add(hn::Add(hn::Add(a0, a1), hn::Add(a2, a3)),
              hn::Add(hn::Add(hn::Add(a4, a5), hn::Add(a6, a7)), hn::Add(hn::Add(a8, a9), hn::Add(a10, a11))));
  sink = hn::GetLane(total);
  return 2.0 * 12 * static_cast<double>(hn::Lanes(d)) * static_cast<double>(rounds);
}

}  // namespace
}  // namespace attune::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::bench {
namespace {
HWY_EXPORT(multiply_add);
}

double fma_peak_gflops(int threads) {
  // One cache line of results per thread.
  std::vector<float> sinks(static_cast<size_t>(threads) * 16);
  std::vector<double> operations(static_cast<size_t>(threads));
  constexpr int64_t kRounds = 2'000'000;
  const double seconds = best_seconds(5, [&] {
    cpu::parallel_for(threads, 1, [&](int64_t begin, int64_t end, int64_t) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        operations[i] = HWY_DYNAMIC_DISPATCH(multiply_add)(kRounds, sinks[i * 16]);
      }
    });
  });
  return std::accumulate(operations.begin(), operations.end(), 0.0) / seconds / 1e9;
}

double round_trip_ns() {
  // The cores that this process may use, which are not all there are.
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) != 0 || CPU_COUNT(&cores) < 2) return 0;
  constexpr int kTrips = 100'000;
  double best = 1e9;
  for (int repeat = 0; repeat < 3; ++repeat) {
    alignas(64) std::atomic<int> there{0};
    alignas(64) std::atomic<int> back{0};
    std::thread other([&] {
      for (int i = 1; i <= kTrips; ++i) {
        while (there.load(std::memory_order_acquire) != i) {
        }
        back.store(i, std::memory_order_release);
      }
    });
    const double begin = now();
    for (int i = 1; i <= kTrips; ++i) {
      there.store(i, std::memory_order_release);
      while (back.load(std::memory_order_acquire) != i) {
      }
    }
    best = std::min(best, (now() - begin) / kTrips);
    other.join();
  }
  return best * 1e9;
}

std::string machine_line(double peak) {
  return fmt::format("{} | FMA peak {:.0f} GFLOP/s | core to core {:.0f} ns", cpu_summary(), peak, round_trip_ns());
}

}  // namespace attune::bench
#endif
