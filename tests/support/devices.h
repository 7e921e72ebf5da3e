#pragma once

#include <catch2/catch_test_macros.hpp>
#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "framework/device.h"
#include "framework/error.h"
#include "tests/support/paths.h"

namespace attune::testing {

/// The first CUDA device; skips the running test visibly, saying what is missing, where there is none.
inline Device cuda_or_skip() {
  try {
    require_device(Device::cuda());
  } catch (const DeviceError& error) {
    SKIP(error.what());
  }
  return Device::cuda();
}

/// tests/emulated_cuda, whose kernels are the CPU's.
inline bool is_emulated(Device device) { return device_summary(device).starts_with("Emulated"); }

/// A number that an emulated device counts.
inline int64_t emulated_count(const char* name) {
  void* library = dlopen(std::getenv("ATTUNE_CUDA_LIBRARY"), RTLD_NOW | RTLD_NOLOAD);
  REQUIRE(library != nullptr);
  const auto count = reinterpret_cast<int64_t (*)()>(dlsym(library, name));
  REQUIRE(count != nullptr);
  return count();
}
/// How often the host has waited for an emulated device, or would have waited for a real one in its place.
inline int64_t emulated_waits() { return emulated_count("attune_emulated_waits"); }
/// How often recorded steps were computed.
inline int64_t emulated_replays() { return emulated_count("attune_emulated_replays"); }
/// How many of its kernels were asked for gradients that are the same in every run.
inline int64_t emulated_deterministic() { return emulated_count("attune_emulated_deterministic"); }

/// An environment variable that programs started in this scope see.
class EnvironmentVariable {
 public:
  EnvironmentVariable(const char* name, const std::string& value) : name_(name) { setenv(name, value.c_str(), 1); }
  ~EnvironmentVariable() { unsetenv(name_); }
  EnvironmentVariable(const EnvironmentVariable&) = delete;
  EnvironmentVariable& operator=(const EnvironmentVariable&) = delete;

 private:
  const char* name_;
};

/// Programs started in this scope have an emulated CUDA device.
class EmulatedDevice {
 public:
  static std::string library() { return program_path("emulated_cuda.so"); }

 private:
  EnvironmentVariable variable_{"ATTUNE_CUDA_LIBRARY", library()};
};

}  // namespace attune::testing
