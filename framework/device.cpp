#include "framework/device.h"

#include <atomic>
#include <charconv>

#include "framework/fail.h"

namespace attune {

std::string Device::to_string() const { return is_cpu() ? "cpu" : fmt::format("cuda:{}", index); }

namespace {
std::atomic<bool> wants_same_results = false;
}

bool deterministic() { return wants_same_results; }
void set_deterministic(bool on) { wants_same_results = on; }

Device parse_device(std::string_view name) {
  if (name == "cpu") return Device::cpu();
  if (name == "cuda") return Device::cuda();
  if (name == "auto") return cuda_device_count() > 0 ? Device::cuda() : Device::cpu();
  int index = 0;
  const char* end = name.data() + name.size();
  const bool numbered = name.starts_with("cuda:");
  const auto [at, error] = std::from_chars(name.data() + (numbered ? 5 : 0), end, index);
  require<ValueError>(numbered && error == std::errc() && at == end && index >= 0,
                      "device '{}' is unknown: expected cpu, cuda, cuda:N or auto", name);
  return Device::cuda(index);
}

}  // namespace attune
