#pragma once

#include <array>
#include <span>
#include <tuple>
#include <type_traits>

#include "framework/tensor.h"

namespace attune {

/// Throws DeviceError naming the kernel and both devices.
[[noreturn]] void fail_devices(const char* kernel, Device first, Device other);

/// Throws DeviceError naming a kernel from outside that was made without a function for `device`.
[[noreturn]] void fail_without_cuda(const char* kernel, Device device);

/// Where a step is recorded on x's device: its memory stays as long as the recording.
void keep_while_recorded(const Tensor& x);

/// The CUDA function of the kernel whose CPU function is `cpu`. Throws DeviceError naming the kernel where the backend
/// has none.
void (*find_cuda_kernel(const char* kernel, void (*cpu)()))();

/// Whether bfloat16 operands of these dtypes are converted around the kernel of `device`: on the CPU, and where the
/// CPU's kernels stand for another device's.
bool is_widened(const char* kernel, Device device, std::span<const DType> operands);

/// x in float32 where it is bfloat16; otherwise x itself.
Tensor widen(const Tensor& x);
/// Rounds what a kernel computed in `wide` into x, where the two differ.
void narrow(const Tensor& wide, Tensor& x);

/// One computation: its name and the function of each backend. The only place that asks "which device". Parameters that
/// are tensors are operands: all on one device, outputs `Tensor&`.
template <class... Params>
struct Kernel {
  const char* name;
  void (*cpu)(Params...);
  /// Computes in float32 or float64: bfloat16 operands are converted around it, on the CPU, and on CUDA devices where
  /// `cuda` is given.
  bool widens = false;
  bool custom = false;                ///< from outside the library, whose kernels the CUDA backend has by their names
  void (*cuda)(Params...) = nullptr;  ///< of a custom kernel

  void operator()(Params... params) const {
    Device device = Device::cpu();
    bool found = false;
    (look(params, device, found), ...);
    void (*function)(Params...) = cpu;
    if (!device.is_cpu()) [[unlikely]] {
      function = custom ? custom_function(device, params...) : library_function();
    }
    if (widens && (is_bfloat16(params) || ...)) [[unlikely]] {
      const std::array operands{dtype_of(params)...};
      if (custom || is_widened(name, device, operands)) return run_wide(function, params...);
    }
    function(params...);
  }

 private:
  auto library_function() const {
    return reinterpret_cast<void (*)(Params...)>(find_cuda_kernel(name, reinterpret_cast<void (*)()>(cpu)));
  }

  [[gnu::noinline]] auto custom_function(Device device, const Params&... params) const {
    if (cuda == nullptr) fail_without_cuda(name, device);
    const auto keep = []<class P>(const P& param) {
      if constexpr (std::is_same_v<P, Tensor>) {
        if (param.defined()) keep_while_recorded(param);
      }
    };
    (keep(params), ...);
    return cuda;
  }

  template <class P>
  static bool is_bfloat16(const P& param) {
    if constexpr (std::is_same_v<P, Tensor>) {
      return param.defined() && param.dtype() == DType::kBFloat16;
    } else {
      return false;
    }
  }

  template <class P>
  static DType dtype_of(const P& param) {
    if constexpr (std::is_same_v<P, Tensor>) {
      if (param.defined()) return param.dtype();
    }
    return DType::kInt64;
  }

  template <class P>
  static constexpr bool kIsTensor = std::is_same_v<std::remove_cvref_t<P>, Tensor>;

  [[gnu::noinline]] void run_wide(void (*function)(Params...), Params... params) const {
    // Outputs are converted too: a kernel may add to them.
    std::tuple<std::conditional_t<kIsTensor<Params>, Tensor, Params>...> wide{[&]() -> decltype(auto) {
      if constexpr (kIsTensor<Params>) {
        return widen(params);
      } else {
        return static_cast<Params>(params);
      }
    }()...};
    std::apply([&](auto&... operands) { function(operands...); }, wide);
    std::apply(
        [&](auto&... operands) {
          const auto give_back = []<class P>(auto& from, P& to) {
            if constexpr (std::is_same_v<P, Tensor>) narrow(from, to);
          };
          (give_back(operands, params), ...);
        },
        wide);
  }

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
constexpr Kernel<Params...> make_kernel(const char* name, void (*cpu)(Params...), bool widens) {
  return {name, cpu, widens};
}

/// A kernel from outside the library (examples/custom_op.cpp). `name`, a literal, stands in errors. It checks nothing
/// but that its operands are on one device. The function for CUDA launches on cuda_stream(); nullptr where there is
/// none, and calling it on a CUDA device is a DeviceError. Both see float32 or float64 (visit_floating()): bfloat16
/// operands are converted before, results rounded after.
template <class... Params>
constexpr Kernel<Params...> custom_kernel(const char* name, void (*cpu)(Params...),
                                          std::type_identity_t<void (*)(Params...)> cuda = nullptr) {
  return {name, cpu, true, true, cuda};
}

}  // namespace attune

#define ATTUNE_DECLARE_KERNEL(NAME, WIDENS, ...)                                                   \
  namespace cpu {                                                                                  \
  void NAME(__VA_ARGS__);                                                                          \
  }                                                                                                \
  namespace cuda {                                                                                 \
  void NAME(__VA_ARGS__);                                                                          \
  }                                                                                                \
  namespace kernels {                                                                              \
  inline constexpr auto NAME = /* NOLINT(readability-identifier-naming): called like a function */ \
      ::attune::make_kernel(#NAME, &::attune::cpu::NAME, WIDENS);                                  \
  }                                                                                                \
  static_assert(true)

/// Declares cpu::NAME, cuda::NAME (which only the CUDA backend defines, framework/cuda_plugin.h) and the callable
/// kernels::NAME. Kernels check nothing but dtypes: ops.h functions check shapes. Outputs are allocated by the caller.
/// Optional operands are undefined tensors.
#define ATTUNE_KERNEL(NAME, ...) ATTUNE_DECLARE_KERNEL(NAME, false, __VA_ARGS__)
/// The same for a kernel that computes in float32 or float64 only: on the CPU, bfloat16 operands are converted to
/// float32 before and results rounded after.
#define ATTUNE_WIDE_KERNEL(NAME, ...) ATTUNE_DECLARE_KERNEL(NAME, true, __VA_ARGS__)
