#pragma once

#include <type_traits>

#include "framework/tensor.h"

namespace attune {

/// Throws DeviceError naming the kernel: mixed devices, or CUDA where there is none.
[[noreturn]] void fail_devices(const char* kernel, Device first, Device other);
[[noreturn]] void fail_no_cuda(const char* kernel);

/// One computation: its name and the function of each backend. The only place that asks "which device".
template <class... Params>
struct Kernel {
  const char* name;
  void (*cpu)(Params...);
  void (*cuda)(Params...);

  void operator()(Params... params) const {
    Device device = Device::cpu();
    bool found = false;
    (look(params, device, found), ...);
    if (device.is_cpu()) {
      cpu(params...);
    } else if (cuda != nullptr) {
      cuda(params...);
    } else {
      fail_no_cuda(name);
    }
  }

 private:
  template <class P>
  void look(const P& param, Device& device, bool& found) const {
    if constexpr (std::is_same_v<P, Tensor>) {
      if (!param.defined()) return;  // an optional operand that is not there
      if (found && param.device() != device) fail_devices(name, device, param.device());
      device = param.device();
      found = true;
    }
  }
};

template <class... Params>
constexpr Kernel<Params...> make_kernel(const char* name, void (*cpu)(Params...)) {
  return {name, cpu, nullptr};
}

}  // namespace attune

/// Declares cpu::NAME and the callable kernels::NAME. Kernels check nothing but dtypes: ops.h functions check shapes.
/// Outputs are allocated by the caller. Optional operands are undefined tensors.
#define ATTUNE_KERNEL(NAME, ...)                                                   \
  namespace cpu {                                                                  \
  void NAME(__VA_ARGS__);                                                          \
  }                                                                                \
  namespace kernels {                                                              \
  inline constexpr auto NAME = ::attune::make_kernel(#NAME, &::attune::cpu::NAME); \
  }                                                                                \
  static_assert(true)
