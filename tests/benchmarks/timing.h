#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace attune::bench {

/// Seconds on a clock that only goes forward.
inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// The shortest of `samples` calls.
template <class F>
double best_seconds(int samples, F&& f) {
  double best = 1e30;
  for (int i = 0; i < samples; ++i) {
    const double begin = now();
    f();
    best = std::min(best, now() - begin);
  }
  return best;
}

/// Seconds per call as a median over samples of at least `sample_seconds` each, after a warm-up.
template <class F>
double median_seconds(int samples, double sample_seconds, F&& f) {
  f();
  int64_t calls = 1;
  for (;;) {
    const double begin = now();
    for (int64_t i = 0; i < calls; ++i) f();
    const double taken = now() - begin;
    if (taken >= sample_seconds) break;
    calls = std::max(calls + 1, static_cast<int64_t>(static_cast<double>(calls) * 1.2 * sample_seconds /
                                                     std::max(taken, sample_seconds / 16)));
  }
  std::vector<double> values;
  for (int i = 0; i < samples; ++i) {
    const double begin = now();
    for (int64_t k = 0; k < calls; ++k) f();
    values.push_back((now() - begin) / static_cast<double>(calls));
  }
  return median(values);
}

}  // namespace attune::bench
