#include <array>
#include <mutex>
#include <string>

#include "framework/error.h"
#include "framework/kernels/cuda/check.h"
#include "framework/kernels/cuda/context.h"

namespace attune::cuda {

const CudaCore* core = nullptr;

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // it has been reported
  throw DeviceError(std::string(call) + ": " + cudaGetErrorString(status));
}

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw DeviceError(std::string(call) + ": " + cublasLtGetStatusString(status));
  }
}

int device_count() {
  int driver = 0;
  ATTUNE_CUDA(cudaDriverGetVersion(&driver));
  if (driver == 0)
    throw DeviceError("no NVIDIA driver is installed (libcuda.so.1); install one, or use the cpu device");
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    throw DeviceError("the NVIDIA driver supports CUDA " + std::to_string(driver / 1000) + "." +
                      std::to_string(driver % 1000 / 10) + ", this build of Attune needs CUDA " +
                      std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10) +
                      "; update the driver");
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
    cudaGetLastError();
    throw DeviceError("the driver sees no NVIDIA GPU (is CUDA_VISIBLE_DEVICES set?); use the cpu device");
  }
  check(status, "cudaGetDeviceCount(&count)");
  return count;
}

Context& context(int device) {
  static std::array<Context, kMaxCudaDevices> contexts;
  static std::array<std::once_flag, kMaxCudaDevices> made;
  thread_local int current = -1;
  if (current != device) {
    ATTUNE_CUDA(cudaSetDevice(device));
    current = device;
  }
  Context& out = contexts[static_cast<size_t>(device)];
  std::call_once(made[static_cast<size_t>(device)], [&] {
    out.device = device;
    ATTUNE_CUDA(cudaStreamCreateWithFlags(&out.stream, cudaStreamNonBlocking));
    ATTUNE_CUDA(cublasLtCreate(&out.cublas));
    ATTUNE_CUDA(cudaDeviceGetAttribute(&out.multiprocessors, cudaDevAttrMultiProcessorCount, device));
  });
  return out;
}

}  // namespace attune::cuda
