#pragma once

#include <cstdint>

namespace attune {

/// Activations that a product applies while its result is in cache.
enum class Activation : uint8_t { kNone, kRelu, kGelu, kGeluTanh, kSilu, kTanh, kSigmoid };

}  // namespace attune
