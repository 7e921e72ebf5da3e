#include "framework/cuda_plugin.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>
#include <system_error>
#include <vector>

#include "framework/fail.h"
#include "framework/kernels/kernel.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLibrary = "libattune_cuda.so";

/// Beside what this code is linked into (the program, or a shared library), and where an installation has it.
std::vector<fs::path> folders() {
  std::vector<fs::path> found;
  const auto add = [&](const fs::path& file) {
    found.push_back(file.parent_path());
    found.push_back(file.parent_path().parent_path() / ATTUNE_LIBRARY_FOLDER);
  };
  std::error_code error;
  add(fs::read_symlink("/proc/self/exe", error));
  Dl_info here{};
  if (dladdr(static_cast<const void*>(kLibrary), &here) != 0 && here.dli_fname != nullptr) {
    add(fs::absolute(here.dli_fname, error));
  }
  return found;
}

/// Path of the backend; only a name, for the system to look for, where it lies in none of the folders.
std::string locate() {
  const char* given = std::getenv("ATTUNE_CUDA_LIBRARY");
  if (given != nullptr && *given != '\0') return given;
  for (const fs::path& folder : folders()) {
    std::error_code error;
    if (fs::exists(folder / kLibrary, error)) return (folder / kLibrary).string();
  }
  return kLibrary;
}

struct Opened {
  const CudaPlugin* plugin = nullptr;
  int devices = 0;
  std::string missing;
};

Opened open() {
  static constexpr CudaCore kCore{allocate_cuda, free_cuda};
  const std::string path = locate();
  // Never closed: tensors, handles and the driver's threads may outlive any point at which it could be.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    if (path == kLibrary) {
      return {nullptr, 0,
              fmt::format("{} is not there, beside the program or in ../" ATTUNE_LIBRARY_FOLDER
                          "; build Attune where the CUDA Toolkit is "
                          "installed, or name the file in ATTUNE_CUDA_LIBRARY",
                          kLibrary)};
    }
    return {nullptr, 0, fmt::format("the CUDA backend cannot be loaded: {}", reason != nullptr ? reason : path)};
  }
  const auto entry = reinterpret_cast<OpenCudaPlugin>(dlsym(library, "attune_cuda_plugin"));
  if (entry == nullptr) return {nullptr, 0, fmt::format("{} is not Attune's CUDA backend", path)};
  try {
    const CudaPlugin* plugin = entry(&kCore);
    if (std::string(plugin->interface) != ATTUNE_CUDA_INTERFACE) {
      return {nullptr, 0,
              fmt::format("{} is of another build than this program (interfaces {} and {}); build and install both "
                          "together",
                          path, plugin->interface, ATTUNE_CUDA_INTERFACE)};
    }
    return {plugin, plugin->device_count(), {}};
  } catch (const DeviceError& error) {
    return {nullptr, 0, error.what()};
  }
}

const Opened& opened() {
  static const Opened result = open();
  return result;
}

}  // namespace

const CudaPlugin& cuda_plugin() {
  require_device(Device::cuda());
  return *opened().plugin;
}

void require_device(Device device) {
  if (device.is_cpu()) return;
  const Opened& found = opened();
  require<DeviceError>(found.plugin != nullptr, "{}: {}", device, found.missing);
  require<DeviceError>(0 <= device.index && device.index < std::min(found.devices, kMaxCudaDevices),
                       "{}: there is no such device, expected an index below {}", device, found.devices);
}

int cuda_device_count() { return opened().devices; }

void synchronize(Device device) {
  require_device(device);
  if (!device.is_cpu()) cuda_plugin().synchronize(device.index);
}

void* cuda_stream(Device device) {
  require<DeviceError>(!device.is_cpu(), "cuda_stream: {} given, expected a CUDA device", device);
  require_device(device);
  return cuda_plugin().stream(device.index);
}

std::string device_summary(Device device) {
  require_device(device);
  if (device.is_cpu()) return cpu_summary();
  const CudaProperties properties = cuda_plugin().properties(device.index);
  return fmt::format("{}, {} GiB, compute capability {}.{}, driver for CUDA {}.{}", properties.name,
                     properties.memory >> 30, properties.major, properties.minor, properties.driver / 1000,
                     properties.driver % 1000 / 10);
}

bool is_widened(const char* kernel, Device device, std::span<const DType> operands) {
  if (device.is_cpu()) return true;
  const auto widened = cuda_plugin().widened;
  if (widened == nullptr) return false;
  widened(kernel, operands);
  return true;
}

AnyFunction find_cuda_kernel(const char* kernel, AnyFunction cpu) {
  // Asked for once and kept in a table that is read without a lock: a pair, once there, stays as it is.
  struct Pair {
    std::atomic<AnyFunction> cpu{nullptr};
    AnyFunction cuda = nullptr;
  };
  constexpr size_t kPairs = 1024;  // several times as many as there are kernels
  static std::array<Pair, kPairs> table;
  size_t at = (reinterpret_cast<uintptr_t>(cpu) >> 4) % kPairs;
  for (;; at = (at + 1) % kPairs) {
    const AnyFunction found = table[at].cpu.load(std::memory_order_acquire);
    if (found == cpu) return table[at].cuda;
    if (found == nullptr) break;
  }
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const AnyFunction function = cuda_plugin().find_kernel(kernel, cpu);
  require<DeviceError>(function != nullptr, "{}: the CUDA backend has no kernel for it; use the cpu device", kernel);
  while (table[at].cpu.load(std::memory_order_relaxed) != nullptr) at = (at + 1) % kPairs;  // filled in the meantime
  table[at].cuda = function;
  table[at].cpu.store(cpu, std::memory_order_release);
  return function;
}

}  // namespace attune
