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

/// The derivative by dual numbers.
template <class F>
struct Derived {
  F f;

  template <class C>
  __device__ C value(C x, const ScoreAt& at) const {
    return static_cast<C>(f(x, at));
  }
  template <class C>
  __device__ C slope(C x, const ScoreAt& at) const {
    return Dual<C>(f(Dual<C>(x, 1), at)).slope;
  }
};

/// A derivative of the user's own.
template <class F, class D>
struct Given {
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

template <class F, class... Numbers>
CudaFormula score_formula(F formula) {
  static_assert(std::is_trivially_copyable_v<F>, "a formula for CUDA devices may capture plain numbers only");
  return {std::make_shared<const F>(std::move(formula)), [](const FormulaKernelName& name) {
            if constexpr (sizeof...(Numbers) > 0) {
              return handle_of(attention_kernel<F, Numbers...>(name), name.dtype);
            } else {
              return handle_of(attention_kernel<F, float, bfloat16, double>(name), name.dtype);
            }
          }};
}

}  // namespace cuda

/// `function`, and on CUDA devices this formula, whose derivative is found by dual numbers. Numbers: types of operands,
/// of float, bfloat16 and double; none: all. Attention throws DeviceError for operands of others.
template <class... Numbers, class F>
ScoreFunction with_cuda(const ScoreFunction& function, F formula) {
  return function.with(cuda::score_formula<cuda::Derived<F>, Numbers...>({std::move(formula)}));
}
/// The same with a derivative of one's own.
template <class... Numbers, class F, class D>
ScoreFunction with_cuda(const ScoreFunction& function, F formula, D derivative) {
  return function.with(cuda::score_formula<cuda::Given<F, D>, Numbers...>({std::move(formula), std::move(derivative)}));
}
/// `function`, and on CUDA devices this formula: bool of a ScoreAt.
template <class F>
MaskFunction with_cuda(const MaskFunction& function, F formula) {
  static_assert(std::is_trivially_copyable_v<F>, "a formula for CUDA devices may capture plain numbers only");
  return function.with({std::make_shared<const F>(std::move(formula)), [](const FormulaKernelName&) {
                          return cuda::handle_of(cuda::address_of<&cuda::mask_with<F>>(), DType::kBool);
                        }});
}

/// A ScoreFunction of a function object that host and CUDA devices can call.
template <class... Numbers, class F>
ScoreFunction everywhere(const F& formula) {
  return with_cuda<Numbers...>(ScoreFunction(formula), formula);
}

}  // namespace attune
