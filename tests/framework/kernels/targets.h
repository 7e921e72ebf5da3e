#pragma once

#include <hwy/targets.h>

#include <cstdint>

namespace attune::testing {

/// Calls f(name) once for every instruction set that kernels are compiled for and this machine has, with the kernels
/// running on it; then the best one is back in use.
template <class F>
void for_each_instruction_set(F&& f) {
  struct Restore {
    ~Restore() { use(0); }
    static void use(int64_t target) {
      hwy::SetSupportedTargetsForTest(target);
      hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    }
  } restore;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    restore.use(target);
    f(hwy::TargetName(target));
  }
}

}  // namespace attune::testing
