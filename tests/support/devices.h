#pragma once

#include <catch2/catch_test_macros.hpp>

#include "framework/device.h"
#include "framework/error.h"

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

}  // namespace attune::testing
