#pragma once

namespace attune {

/// Version of the library, "major.minor.patch"; checkpoints record the one that wrote them.
inline constexpr const char* kVersion = "0.1.0";

}  // namespace attune
