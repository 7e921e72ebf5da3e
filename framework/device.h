#pragma once

#include <cstdint>
#include <string>
#include <string_view>

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

/// "cpu", "cuda" (the first one), "cuda:1", or "auto": cuda where there is one, else cpu. Throws ValueError for
/// anything else.
Device parse_device(std::string_view name);

/// Throws DeviceError where no tensor can live on `device`, saying what is missing: the CUDA backend
/// (libattune_cuda.so: beside the program, in ../lib, or where ATTUNE_CUDA_LIBRARY points), its libraries, the driver,
/// the GPU.
void require_device(Device device);

/// How many CUDA devices can be used: 0 where anything is missing.
int cuda_device_count();

/// Waits for everything that was begun on `device`. On the CPU nothing is ever left to wait for.
void synchronize(Device device);

/// The cudaStream_t on which everything is computed on a CUDA device, in order: what one's own kernels are launched on.
/// `device` becomes the current device of the calling thread. Throws DeviceError for the CPU.
void* cuda_stream(Device device);

/// One line about a device: cpu_summary(), or "NVIDIA H200, 139 GiB, compute capability 9.0, driver for CUDA 13.0".
std::string device_summary(Device device);

/// Threads used by all CPU work, the caller included. Default: every core this process may run on.
int num_threads();
/// Throws ValueError below 1. Results are bitwise reproducible for an equal number of threads.
void set_num_threads(int count);

/// Whether training on a CUDA device is bitwise reproducible, as it is on the CPU: without, cuDNN may add up the
/// gradients of attention on bfloat16 in another order in every run. Default: false.
bool deterministic();
void set_deterministic(bool on);

/// One line about the processor and the kernels in use: "AVX3 kernels, 2 threads, OpenBLAS 0.3.21 (SkylakeX)".
std::string cpu_summary();

/// Empty, or one line that says that OpenBLAS runs kernels below what the processor offers (an OPENBLAS_CORETYPE set
/// too low, or a processor newer than the library), and what to do.
std::string blas_warning();

}  // namespace attune
