#pragma once

#include <cstdint>
#include <string>
#include <tuple>

#include "framework/error.h"
#include "framework/kernels/cuda/check.h"
#include "framework/kernels/cuda/context.h"

namespace attune::cuda {

/// Blocks are numbered along x only, which takes 2^31 of them: rows may be more than 65,535.
struct Grid {
  int64_t blocks = 0;
  int threads = 0;
  size_t shared = 0;  ///< bytes, beside what the kernel declares
};

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr size_t kSharedWithoutAsking = size_t{48} << 10;

/// A thread for every item.
inline Grid thread_each(int64_t items, int threads = 256) { return {ceil_div(items, threads), threads}; }

/// What a kernel is launched by.
template <auto kKernel>
const void* address_of() {
  return reinterpret_cast<const void*>(kKernel);
}

/// A kernel that takes a formula behind these parameters. Of both only the address is known here.
template <class... Params>
struct FormulaKernel {
  const void* kernel;  ///< by address_of(), or a cudaKernel_t of another program
  const void* formula;
};

/// The one place that launches. arguments: an address of each.
inline void launch_at(const Context& context, const char* name, const void* kernel, const Grid& grid,
                      void** arguments) {
  if (grid.blocks > INT32_MAX) {
    throw DeviceError(std::string(name) + ": " + std::to_string(grid.blocks) + " blocks, CUDA takes 2147483647");
  }
  if (grid.shared > kSharedWithoutAsking) {
    const auto bytes = static_cast<int>(grid.shared);
    ATTUNE_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  }
  const cudaError_t status =
      cudaLaunchKernel(kernel, dim3(static_cast<unsigned>(grid.blocks)), dim3(static_cast<unsigned>(grid.threads)),
                       arguments, grid.shared, context.stream);
  if (status != cudaSuccess) check(status, (std::string("launch of ") + name).c_str());
}

/// A grid without blocks, of empty operands, launches nothing. `name`: for the error.
template <class... Params, class... Args>
void launch(const Context& context, const char* name, void (*kernel)(Params...), const Grid& grid, Args&&... args) {
  if (grid.blocks == 0) return;
  std::tuple<std::remove_cv_t<Params>...> values(std::forward<Args>(args)...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {&value...};
        launch_at(context, name, reinterpret_cast<const void*>(kernel), grid, pointers);
      },
      values);
}

template <class... Params, class... Args>
void launch(const Context& context, const char* name, const FormulaKernel<Params...>& kernel, const Grid& grid,
            Args&&... args) {
  if (grid.blocks == 0) return;
  std::tuple<std::remove_cv_t<Params>...> values(std::forward<Args>(args)...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {&value..., const_cast<void*>(kernel.formula)};
        launch_at(context, name, kernel.kernel, grid, pointers);
      },
      values);
}

}  // namespace attune::cuda
