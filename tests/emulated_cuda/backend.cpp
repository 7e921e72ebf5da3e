// A CUDA backend for machines without a GPU: "device" memory is the host's, and the kernels are the CPU's. With it the
// whole way of a CUDA tensor is tested but for the kernels themselves: opening the backend, the allocator, copies, that
// every op allocates where its operands are, that nobody but kernels touches device memory, which is not accessible
// outside of them, and that kernels get bfloat16 and float32 side by side only where CUDA's take it.
// ATTUNE_EMULATED=interface, driver, kernel or capture makes it fail as a real one may.

#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "framework/cuda_plugin.h"
#include "framework/error.h"
#include "framework/kernels/cuda/kernels.h"

/// As it was when it began.
struct attune::Transfer {
  std::vector<std::byte> bytes;
};

struct attune::StepGraph {
  std::unique_ptr<std::vector<std::function<void(uint64_t draws)>>> kernels;
};

namespace {

using attune::AnyFunction;
using attune::CudaPlugin;
using attune::CudaProperties;
using attune::StepGraph;
using attune::Transfer;

constexpr size_t kMemory = size_t{1} << 30;
constexpr size_t kSpace = 4 * kMemory;  // so that free places are never too small

/// All of the device's memory: address space that becomes memory where it is used.
class Memory {
 public:
  Memory() {
    void* mapped = mmap(nullptr, kSpace, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    begin_ = mapped == MAP_FAILED ? nullptr : static_cast<std::byte*>(mapped);
    if (begin_ != nullptr) free_.emplace(0, kSpace);
  }

  std::byte* take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes > kMemory - used_) return nullptr;
    for (auto block = free_.begin(); block != free_.end(); ++block) {
      const auto [at, size] = *block;
      if (size < bytes) continue;
      free_.erase(block);
      if (size > bytes) free_.emplace(at + bytes, size - bytes);
      taken_.emplace(at, bytes);
      used_ += bytes;
      return begin_ + at;
    }
    return nullptr;
  }

  void give_back(std::byte* block) {
    const std::lock_guard lock(mutex_);
    const auto taken = taken_.find(static_cast<size_t>(block - begin_));
    used_ -= taken->second;
    auto merged = free_.insert(*taken).first;
    taken_.erase(taken);
    if (const auto next = std::next(merged); next != free_.end() && merged->first + merged->second == next->first) {
      merged->second += next->second;
      free_.erase(next);
    }
    if (merged == free_.begin()) return;
    if (const auto before = std::prev(merged); before->first + before->second == merged->first) {
      before->second += merged->second;
      free_.erase(merged);
    }
  }

  /// Accessible as long as anybody is inside.
  void enter() {
    const std::lock_guard lock(mutex_);
    if (inside_++ == 0) mprotect(begin_, kSpace, PROT_READ | PROT_WRITE);
  }
  void leave() {
    const std::lock_guard lock(mutex_);
    if (--inside_ == 0) mprotect(begin_, kSpace, PROT_NONE);
  }

 private:
  std::byte* begin_ = nullptr;
  std::map<size_t, size_t> free_;  // size by place
  std::map<size_t, size_t> taken_;
  std::mutex mutex_;
  size_t used_ = 0;
  int inside_ = 0;
};

Memory& memory() {
  static auto* all = new Memory;  // never destroyed, as the tensors of static objects may outlive it
  return *all;
}

struct Access {
  Access() { memory().enter(); }
  ~Access() { memory().leave(); }
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

std::atomic<int64_t> waits = 0;
std::atomic<int64_t> deterministic_calls = 0;  ///< that asked for gradients that are the same in every run
std::atomic<int64_t> replays = 0;
const attune::CudaCore* core = nullptr;

/// A result that is a number is there for the host, which has to wait for it.
template <class Param>
constexpr bool kWaits = std::is_lvalue_reference_v<Param> && !std::is_const_v<std::remove_reference_t<Param>> &&
                        std::is_arithmetic_v<std::remove_reference_t<Param>>;

// Recorded steps: kernels with copies of what they were called with, as CUDA keeps it.

using Recording = std::vector<std::function<void(uint64_t draws)>>;

Recording* recording = nullptr;

void require_no_recording(const char* what) {
  if (recording != nullptr) throw attune::DeviceError(std::string("a step that is recorded for a graph ") + what);
}

void add_draws(attune::RandomState& state, uint64_t draws) { state.offset += draws; }
void add_draws(attune::DropoutSpec& spec, uint64_t draws) { add_draws(spec.state, draws); }
void add_draws(attune::AttentionSpec& spec, uint64_t draws) { add_draws(spec.dropout, draws); }
template <class Param>
void add_draws(Param& /*param*/, uint64_t /*draws*/) {}

template <class Param>
void count_deterministic(const Param& param) {
  if constexpr (std::is_same_v<Param, attune::AttentionSpec>) deterministic_calls += param.deterministic ? 1 : 0;
}

/// The CPU's kernel with access to the device's memory.
template <int kId, class... Params>
struct Emulated {
  static inline void (*cpu)(Params...) = nullptr;

  static void call(Params... params) {
    (count_deterministic(params), ...);
    if ((kWaits<Params> || ...)) {
      require_no_recording("waits for a result");
      ++waits;
    }
    if (recording == nullptr) return compute(params...);
    recording->push_back([kept = std::tuple<std::decay_t<Params>...>(params...)](uint64_t draws) {
      std::tuple<std::decay_t<Params>...> copies = kept;
      std::apply([&](auto&... copy) { (add_draws(copy, draws), ...); }, copies);
      std::apply([](auto&... copy) { compute(copy...); }, copies);
    });
  }

  static void compute(Params... params) {
    const Access access;
    cpu(params...);
  }
};

enum Id {
#define ATTUNE_CUDA_KERNEL(NAME) kId_##NAME,
  ATTUNE_CUDA_KERNELS
#undef ATTUNE_CUDA_KERNEL
};

template <int kId, class... Params>
AnyFunction emulate(void (*)(Params...), AnyFunction cpu) {
  Emulated<kId, Params...>::cpu = reinterpret_cast<void (*)(Params...)>(cpu);
  return reinterpret_cast<AnyFunction>(&Emulated<kId, Params...>::call);
}

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
  const std::string_view wanted = name;
  if (asked_to_fail_at("kernel")) return nullptr;
#define ATTUNE_CUDA_KERNEL(NAME) \
  if (wanted == #NAME) return emulate<kId_##NAME>(static_cast<decltype(&attune::cuda::NAME)>(nullptr), cpu);
  ATTUNE_CUDA_KERNELS
#undef ATTUNE_CUDA_KERNEL
  memory().enter();  // for good: what the CUDA backend does not have yet has no signature here
  return cpu;
}

/// Operands, by their place, that a kernel takes in float32 beside bfloat16: statistics, losses, tables, gradients of
/// parameters. CUDA's kernels read and write the bytes as what they expect.
struct Mixed {
  std::string_view kernel;
  uint32_t places;  ///< a bit each
};
constexpr uint32_t at(std::initializer_list<int> places) {
  uint32_t bits = 0;
  for (const int place : places) bits |= uint32_t{1} << place;
  return bits;
}
constexpr Mixed kMixed[] = {
    {"matmul", at({3})},
    {"linear_backward", at({6})},
    {"add_layer_norm", at({8})},
    {"add_layer_norm_backward", at({3, 8, 10})},
    {"rms_norm", at({4})},
    {"rms_norm_backward", at({2, 5})},
    {"attention", at({6})},
    {"attention_backward", at({7})},
    {"cross_entropy", at({2, 4, 5})},
    {"cross_entropy_backward", at({2, 4, 5, 6})},
    {"paired_divergence", at({3, 4, 5})},
    {"rotary", at({1, 2})},
    {"batch_statistics", at({2})},
    {"batch_norm", at({1})},
    {"batch_norm_backward", at({2})},
};

void widened(const char* kernel, std::span<const attune::DType> operands) {
  uint32_t places = 0;
  for (const Mixed& mixed : kMixed) {
    if (mixed.kernel == kernel) places = mixed.places;
  }
  for (size_t i = 0; i < operands.size(); ++i) {
    const bool other = attune::is_floating(operands[i]) && operands[i] != attune::DType::kBFloat16;
    if (other && (places >> i & 1u) == 0) {
      throw attune::DTypeError(std::string(kernel) + ": operand " + std::to_string(i) +
                               " is not bfloat16 as the others, which the CUDA kernel does not take");
    }
  }
}

void* reserve(size_t bytes, int) { return memory().take(bytes); }
void give_back(void* block, int) noexcept { memory().give_back(static_cast<std::byte*>(block)); }

void copy(void* to, const void* from, size_t bytes) {
  const Access access;
  std::memcpy(to, from, bytes);
}
void to_device(void* to, const void* from, size_t bytes, int) {
  require_no_recording("copies what is on the host to the device and is not one of its inputs");
  copy(to, from, bytes);
}
void to_host(void* to, const void* from, size_t bytes, int) {
  require_no_recording("waits for a result");
  ++waits;
  copy(to, from, bytes);
}
void synchronize(int) { ++waits; }

void keep(const attune::Tensor&) {}

void* stream(int) { return &waits; }  // something that is not null

Transfer* begin_to_host(const void* from, size_t bytes, int) {
  require_no_recording("copies a result to the host");
  auto* transfer = new Transfer{std::vector<std::byte>(bytes)};
  copy(transfer->bytes.data(), from, bytes);
  return transfer;
}
void abandon(Transfer* transfer) noexcept { delete transfer; }
void end_to_host(Transfer* transfer, void* to) {
  std::memcpy(to, transfer->bytes.data(), transfer->bytes.size());
  delete transfer;
}

void begin_capture(int) {
  if (asked_to_fail_at("capture")) throw attune::DeviceError("no graphs, as asked for");
  recording = new Recording;
}
StepGraph* end_capture(int) { return new StepGraph{std::unique_ptr<Recording>(std::exchange(recording, nullptr))}; }
void abandon_capture(int) noexcept { delete std::exchange(recording, nullptr); }
void replay(StepGraph* graph, uint64_t draws) {
  ++replays;
  for (const auto& kernel : *graph->kernels) kernel(draws);
}
void drop(StepGraph* graph) noexcept { delete graph; }

constexpr CudaPlugin plugin_of(const char* interface) {
  return {interface,       device_count, properties,    find_kernel, widened, reserve,       give_back,
          to_device,       to_host,      begin_to_host, end_to_host, abandon, begin_capture, end_capture,
          abandon_capture, replay,       drop,          synchronize, stream,  keep};
}
constexpr CudaPlugin kPlugin = plugin_of(ATTUNE_CUDA_INTERFACE);
constexpr CudaPlugin kOther = plugin_of("another");

}  // namespace

extern "C" __attribute__((visibility("default"))) const CudaPlugin* attune_cuda_plugin(const attune::CudaCore* given) {
  core = given;
  return asked_to_fail_at("interface") ? &kOther : &kPlugin;
}

// What tests look up: how often the host has waited for the device, or would have.
extern "C" __attribute__((visibility("default"))) int64_t attune_emulated_waits() { return waits; }
extern "C" __attribute__((visibility("default"))) int64_t attune_emulated_replays() { return replays; }
extern "C" __attribute__((visibility("default"))) int64_t attune_emulated_deterministic() {
  return deterministic_calls;
}

// The library's is not here: what a recording holds goes back to the library.
void attune::StorageRef::release() noexcept {
  if (storage_ != nullptr && storage_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) core->free(storage_);
  storage_ = nullptr;
}
