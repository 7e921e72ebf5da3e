// A CUDA backend for machines without a GPU: "device" memory is the host's, and the kernels are the CPU's. With it the
// whole way of a CUDA tensor is tested but for the kernels themselves: opening the backend, the allocator, copies, and
// that every op allocates where its operands are. ATTUNE_EMULATED=interface or driver makes it fail as a real one may.

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "framework/cuda_plugin.h"
#include "framework/error.h"

namespace {

using attune::AnyFunction;
using attune::CudaPlugin;
using attune::CudaProperties;

constexpr size_t kMemory = size_t{1} << 30;
size_t reserved = 0;

bool asked_to_fail_at(std::string_view what) {
  const char* asked = std::getenv("ATTUNE_EMULATED");
  return asked != nullptr && asked == what;
}

int device_count() {
  if (asked_to_fail_at("driver")) throw attune::DeviceError("no driver, as asked for");
  return 2;
}

CudaProperties properties(int) { return {"Emulated GPU", kMemory, 9, 0, 1, 13000}; }

AnyFunction find_kernel(const char* name, AnyFunction cpu) {
  return std::string_view(name) == "exchange" ? nullptr : cpu;
}

void* reserve(size_t bytes, int) {
  if (bytes > kMemory - reserved) return nullptr;
  reserved += bytes;
  // Its size is kept in front.
  auto* block = static_cast<std::byte*>(std::aligned_alloc(64, bytes + 64));
  std::memcpy(block, &bytes, sizeof(bytes));
  return block + 64;
}

void give_back(void* block, int) noexcept {
  size_t bytes = 0;
  std::byte* begin = static_cast<std::byte*>(block) - 64;
  std::memcpy(&bytes, begin, sizeof(bytes));
  reserved -= bytes;
  std::free(begin);
}

void copy(void* to, const void* from, size_t bytes, int) { std::memcpy(to, from, bytes); }
void synchronize(int) {}

constexpr CudaPlugin kPlugin{
    ATTUNE_CUDA_INTERFACE, device_count, properties, find_kernel, reserve, give_back, copy, copy, synchronize};
constexpr CudaPlugin kOther{"another", device_count, properties, find_kernel, reserve,
                            give_back, copy,         copy,       synchronize};

}  // namespace

extern "C" __attribute__((visibility("default"))) const CudaPlugin* attune_cuda_plugin(const attune::CudaCore*) {
  return asked_to_fail_at("interface") ? &kOther : &kPlugin;
}
