#pragma once

#include <cstdint>

#include "framework/cuda_plugin.h"
#include "framework/tensor.h"

namespace attune::cuda {

// Recorded steps as CUDA graphs, as CudaPlugin describes them. One thread records at a time.

void begin_capture(int device);
StepGraph* end_capture(int device);
void abandon_capture(int device) noexcept;
void replay(StepGraph* graph, uint64_t draws);
void drop(StepGraph* graph) noexcept;

/// Where something is recorded: what x lies in stays as long as the recording.
void keep_while_recorded(const Tensor& x);

}  // namespace attune::cuda
