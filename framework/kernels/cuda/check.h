#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

namespace attune::cuda {

/// Throws DeviceError: "<call>: <what CUDA says>". `call` is the text of the call.
void check(cudaError_t status, const char* call);
void check(cublasStatus_t status, const char* call);

}  // namespace attune::cuda

/// Every call of CUDA and its libraries goes through this.
#define ATTUNE_CUDA(CALL) ::attune::cuda::check(CALL, #CALL)
