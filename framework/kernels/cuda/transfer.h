#pragma once

#include <cstddef>

#include "framework/cuda_plugin.h"

namespace attune::cuda {

// Copies between host and device as CudaPlugin describes them, in order with the kernels. Memory that the device is to
// read or write by itself is pinned: of other memory the driver makes copies of its own, for which it may wait.

void to_device(void* to, const void* from, size_t bytes, int device);
void to_host(void* to, const void* from, size_t bytes, int device);
Transfer* begin_to_host(const void* from, size_t bytes, int device);
void end_to_host(Transfer* transfer, void* to);
void abandon(Transfer* transfer) noexcept;

}  // namespace attune::cuda
