#include "framework/device.h"

#include "framework/fail.h"

namespace attune {

std::string Device::to_string() const { return is_cpu() ? "cpu" : fmt::format("cuda:{}", index); }

}  // namespace attune
