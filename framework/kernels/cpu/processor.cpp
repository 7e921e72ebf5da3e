#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

#include "framework/device.h"
#include "framework/fail.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/processor.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {
// Float32 lanes of the vectors that kernels use.
int vector_lanes() { return static_cast<int>(hwy::HWY_NAMESPACE::Lanes(hwy::HWY_NAMESPACE::ScalableTag<float>())); }
const char* target_name() { return hwy::TargetName(HWY_TARGET); }
}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune {
namespace cpu {
namespace {
HWY_EXPORT(vector_lanes);
HWY_EXPORT(target_name);
}  // namespace
}  // namespace cpu

std::string cpu_summary() {
  using namespace cpu;
  return fmt::format("{} kernels ({} bits), {} thread{}", HWY_DYNAMIC_DISPATCH(target_name)(),
                     32 * HWY_DYNAMIC_DISPATCH(vector_lanes)(), num_threads(), num_threads() == 1 ? "" : "s");
}

std::string blas_warning() {
  using namespace cpu;
  const char* value = std::getenv("OPENBLAS_CORETYPE");
  if (value == nullptr || *value == '\0') return "";
  constexpr std::array<std::string_view, 3> kAvx512 = {"skylakex", "cooperlake", "sapphirerapids"};
  constexpr std::array<std::string_view, 3> kAvx2 = {"haswell", "zen", "excavator"};
  std::string core = value;
  std::transform(core.begin(), core.end(), core.begin(), [](unsigned char c) { return std::tolower(c); });
  int bits = 128;
  if (std::find(kAvx2.begin(), kAvx2.end(), core) != kAvx2.end()) bits = 256;
  if (std::find(kAvx512.begin(), kAvx512.end(), core) != kAvx512.end()) bits = 512;
  const int offered = 32 * HWY_DYNAMIC_DISPATCH(vector_lanes)();
  if (bits >= offered) return "";
  return fmt::format(
      "OPENBLAS_CORETYPE={} selects {}-bit kernels where the processor offers {} bits: Attune's own kernels use all of "
      "them, but what runs on OpenBLAS beside them is slowed; unset it before comparing",
      value, bits, offered);
}

}  // namespace attune
#endif
