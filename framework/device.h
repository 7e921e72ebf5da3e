#pragma once

#include <cstdint>
#include <string>

namespace attune {

/// Where a tensor lives.
struct Device {
  enum class Type : uint8_t { kCpu, kCuda };

  Type type = Type::kCpu;
  int index = 0;

  static constexpr Device cpu() { return {Type::kCpu, 0}; }
  static constexpr Device cuda(int index = 0) { return {Type::kCuda, index}; }

  bool is_cpu() const { return type == Type::kCpu; }
  bool operator==(const Device&) const = default;

  /// "cpu" or "cuda:0"
  std::string to_string() const;
};

/// Threads used by all CPU work, the caller included. Default: every core this process may run on.
int num_threads();
/// Throws ValueError below 1. Results are bitwise reproducible for an equal number of threads.
void set_num_threads(int count);

/// One line about the processor and the kernels in use: "AVX3 kernels, 2 threads, OpenBLAS 0.3.21 (SkylakeX)".
std::string cpu_summary();

/// Empty, or one line that says that OpenBLAS runs kernels below what the processor offers (an OPENBLAS_CORETYPE set
/// too low, or a processor newer than the library), and what to do.
std::string blas_warning();

}  // namespace attune
