// How wide pack() of gemm.h makes its panels; compiled once per instruction set, as simd.h.

#if defined(ATTUNE_FRAMEWORK_KERNELS_CPU_PANEL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ATTUNE_FRAMEWORK_KERNELS_CPU_PANEL_H_
#undef ATTUNE_FRAMEWORK_KERNELS_CPU_PANEL_H_
#else
#define ATTUNE_FRAMEWORK_KERNELS_CPU_PANEL_H_
#endif

#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {

/// Vectors of B that stand side by side. Registers hold rows x panel accumulators, `panel` vectors of B and one
/// broadcast of A: 32 vector registers take 6 x 4 (24 + 4 + 1), 16 take 6 x 2 (12 + 2 + 1). Wide and low rather than
/// square: six row pointers stay in registers, model widths are multiples of 64, and B may come from the second-level
/// cache (256 bytes in 12 cycles).
#if HWY_TARGET <= HWY_AVX3
inline constexpr int kPanel = 4;
#else
inline constexpr int kPanel = 2;
#endif

}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
