#pragma once

#include <memory>
#include <utility>

#include "framework/kernels/cuda/formula_kernels.cuh"

// Formulas of one's own inside the CUDA backend's attention. For source files that nvcc compiles, with
// --extended-lambda (for lambdas) and --expt-relaxed-constexpr:
//
//     const ScoreFunction alibi = with_cuda(
//         ScoreFunction([slope](auto score, const ScoreAt& at) { return score - slope * (at.query - at.key); }),
//         [slope] __device__(auto score, const ScoreAt& at) { return score - slope * (at.query - at.key); });
//
// or once for both, with a function object:
//
//     struct Alibi {
//       float slope;
//       template <class Number>
//       ATTUNE_EVERYWHERE Number operator()(Number score, const ScoreAt& at) const {
//         return score - slope * (at.query - at.key);
//       }
//     };
//     const ScoreFunction alibi = everywhere(Alibi{0.1f});
//
// The program compiles the backend's kernels with the formula inside, for the GPUs that it is itself compiled for,
// which takes nvcc a while: with_cuda<float>(...) compiles those for float32 operands alone. A score of -infinity is a
// masked one. What a formula captures is copied to the device, byte by byte, at each launch.

namespace attune {
namespace cuda {

/// What attention's kernels take: a score, and its derivative.
template <class F, class D>
struct Scored {
  F f;
  D derivative;

  template <class C>
  __device__ C value(C x, const ScoreAt& at) const {
    return static_cast<C>(f(x, at));
  }
  template <class C>
  __device__ C slope(C x, const ScoreAt& at) const {
    return static_cast<C>(derivative(x, at));
  }
};

/// The derivative of a formula by dual numbers.
template <class F>
struct ByDual {
  F f;

  template <class C>
  __device__ C operator()(C x, const ScoreAt& at) const {
    return Dual<C>(f(Dual<C>(x, 1), at)).slope;
  }
};

/// What the backend may launch: its runtime is not this program's, which knows the kernel's address.
inline const void* handle_of(const void* address, DType dtype) {
  if (address == nullptr) {
    throw DeviceError(std::string("attention: the formula was not compiled for ") + dtype_name(dtype) +
                      ", expected that type in with_cuda<...>()");
  }
  cudaKernel_t kernel = nullptr;
  const cudaError_t status = cudaGetKernel(&kernel, address);
  if (status != cudaSuccess) {
    throw DeviceError(std::string("attention: the formula's kernel: ") + cudaGetErrorString(status) +
                      "; compile the formula for this GPU");
  }
  return kernel;
}

/// A formula as launches copy it.
template <class F>
std::shared_ptr<const void> captured(F formula) {
  static_assert(std::is_trivially_copyable_v<F>, "a formula for CUDA devices may capture plain numbers only");
  return std::make_shared<const F>(std::move(formula));
}

}  // namespace cuda

/// `function`, and on CUDA devices this formula and its derivative. Numbers: types of operands, of float, bfloat16 and
/// double; none: all. Attention throws DeviceError for operands of others.
template <class... Numbers, class F, class D>
ScoreFunction with_cuda(const ScoreFunction& function, F formula, D derivative) {
  using S = cuda::Scored<F, D>;
  return function.with(
      {cuda::captured(S{std::move(formula), std::move(derivative)}), [](const FormulaKernelName& name) {
         return cuda::handle_of(cuda::attention_kernel<S, Numbers...>(name), name.dtype);
       }});
}
/// The same with the derivative found by dual numbers.
template <class... Numbers, class F>
ScoreFunction with_cuda(const ScoreFunction& function, F formula) {
  return with_cuda<Numbers...>(function, formula, cuda::ByDual<F>{formula});
}
/// `function`, and on CUDA devices this formula: bool of a ScoreAt.
template <class F>
MaskFunction with_cuda(const MaskFunction& function, F formula) {
  return function.with({cuda::captured(std::move(formula)), [](const FormulaKernelName&) {
                          return cuda::handle_of(cuda::address_of<&cuda::mask_with<F>>(), DType::kBool);
                        }});
}

/// A ScoreFunction of a function object that host and CUDA devices can call.
template <class... Numbers, class F>
ScoreFunction everywhere(const F& formula) {
  return with_cuda<Numbers...>(ScoreFunction(formula), formula);
}

}  // namespace attune
