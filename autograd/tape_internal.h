#pragma once

// For the .cpp files of the tape, and of ops that would overwrite what they keep.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "autograd/variable.h"

namespace attune {

class TapeHook;

namespace tape_internal {

/// What the scopes of a thread have switched.
struct Modes {
  bool recording = true;
  bool anomaly = false;
  TapeHook* hook = nullptr;
  bool watched = false;    ///< anomaly or hook: what every op asks
  bool retaining = false;  ///< closures will be called again (BackwardOptions::retain): what they keep stays as it is
};
extern constinit thread_local Modes modes;

/// Throws when an output holds NaN or infinity, naming the parameter that the op uses, or the last one that was used.
void check_outputs(const char* op, std::span<const Variable* const> inputs, std::span<const Tensor* const> outputs);

}  // namespace tape_internal
}  // namespace attune
