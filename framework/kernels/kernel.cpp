#include "framework/kernels/kernel.h"

#include "framework/cuda_plugin.h"
#include "framework/fail.h"
#include "framework/kernels/copy.h"

namespace attune {

void fail_devices(const char* kernel, Device first, Device other) {
  fail<DeviceError>("{}: operands are on {} and on {}; move one with Tensor::to", kernel, first, other);
}

void fail_without_cuda(const char* kernel, Device device) {
  fail<DeviceError>("{}: operands are on {}, and custom_kernel() was given no function for CUDA; use the cpu device",
                    kernel, device);
}

void keep_while_recorded(const Tensor& x) { cuda_plugin().keep(x); }

Tensor widen(const Tensor& x) { return x.defined() && x.dtype() == DType::kBFloat16 ? x.to(DType::kFloat32) : x; }

void narrow(const Tensor& wide, Tensor& x) {
  if (x.defined() && x.dtype() == DType::kBFloat16) kernels::copy(wide, x);
}

}  // namespace attune
