#pragma once

#include <string>

namespace attune::bench {

/// Fused multiply-adds in registers on `threads` threads, in GFLOP/s: the most that any product could reach here.
double fma_peak_gflops(int threads);

/// Time in ns for a cache line to go to another core and back: virtual machines change it between runs, so it stands
/// beside every figure. 0 with a single core.
double round_trip_ns();

/// "AVX3 kernels (512 bits), 2 threads | FMA peak 456 GFLOP/s | core to core 250 ns"
std::string machine_line(double peak);

}  // namespace attune::bench
