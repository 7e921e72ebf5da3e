// Kernels of one's own for CUDA devices, compiled by nvcc.
#include <cuda_runtime.h>
#include <framework/device.h>
#include <framework/error.h>
#include <framework/tensor.h>

#include <string>

using namespace attune;

namespace {

template <class T>
__global__ void snake_kernel(const T* x, T a, T* y, int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < count) y[i] = x[i] + sin(a * x[i]) * sin(a * x[i]) / a;
}

template <class T>
__global__ void snake_backward_kernel(const T* x, const T* dy, T a, T* dx, int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < count) dx[i] = dy[i] * (1 + sin(2 * a * x[i]));
}

/// A thread for every element, behind what the device computes already.
template <class... Params, class... Args>
void launch(const Tensor& like, void (*kernel)(Params...), Args... args) {
  const int64_t count = like.numel();
  if (count == 0) return;
  const auto stream = static_cast<cudaStream_t>(cuda_stream(like.device()));
  kernel<<<static_cast<unsigned>((count + 255) / 256), 256, 0, stream>>>(args..., count);
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) throw DeviceError(std::string("snake: ") + cudaGetErrorString(status));
}

}  // namespace

void snake_cuda(const Tensor& x, double a, Tensor& y) {
  visit_floating(x.dtype(), "snake",
                 [&]<class T>(T) { launch(x, snake_kernel<T>, x.data<T>(), static_cast<T>(a), y.data<T>()); });
}

void snake_backward_cuda(const Tensor& x, const Tensor& dy, double a, Tensor& dx) {
  visit_floating(x.dtype(), "snake", [&]<class T>(T) {
    launch(x, snake_backward_kernel<T>, x.data<T>(), dy.data<T>(), static_cast<T>(a), dx.data<T>());
  });
}
