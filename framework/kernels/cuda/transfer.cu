#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "framework/error.h"
#include "framework/kernels/cuda/check.h"
#include "framework/kernels/cuda/context.h"
#include "framework/kernels/cuda/transfer.h"

namespace attune {

/// Pinned memory that one copy at a time uses, and the event behind that copy. Never destroyed, like the context.
struct Transfer {
  std::byte* memory = nullptr;
  size_t capacity = 0;
  size_t bytes = 0;  ///< of the copy
  cudaEvent_t done = nullptr;
  int device = 0;

  /// Once the copy before is through, room for another.
  void prepare(size_t count, int index) {
    if (done == nullptr) ATTUNE_CUDA(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
    ATTUNE_CUDA(cudaEventSynchronize(done));
    device = index;
    bytes = count;
    if (capacity >= count) return;
    if (memory != nullptr) ATTUNE_CUDA(cudaFreeHost(memory));
    memory = nullptr;
    capacity = 0;
    const size_t wanted = std::bit_ceil(std::max(count, size_t{4096}));
    ATTUNE_CUDA(cudaHostAlloc(reinterpret_cast<void**>(&memory), wanted, cudaHostAllocDefault));
    capacity = wanted;
  }
};

namespace cuda {
namespace {

// Uploads use the places of a ring in turn: the host may be so many copies ahead of the device before it waits. Ids and
// lengths, a few per step, have a ring of their own beside that of pictures.
constexpr size_t kSmall = size_t{64} << 10;
constexpr size_t kLargest = size_t{64} << 20;

template <size_t kPlaces>
struct Ring {
  std::array<Transfer, kPlaces> places;
  size_t next = 0;

  Transfer& take() { return places[next++ % kPlaces]; }
};

struct Uploads {
  std::mutex mutex;
  Ring<64> small;
  Ring<3> large;
};

Uploads& uploads(int device) {
  static auto* all = new std::array<Uploads, kMaxCudaDevices>;
  return (*all)[static_cast<size_t>(device)];
}

/// Transfers to the host that nobody has, of all devices.
struct Downloads {
  std::mutex mutex;
  std::vector<Transfer*> free;
};

Downloads& downloads() {
  static auto* all = new Downloads;
  return *all;
}

Transfer* take_download(size_t bytes, int device) {
  Downloads& all = downloads();
  {
    const std::lock_guard lock(all.mutex);
    const auto found = std::find_if(all.free.begin(), all.free.end(), [&](const Transfer* transfer) {
      return transfer->device == device && transfer->capacity >= bytes;
    });
    if (found != all.free.end()) {
      Transfer* const transfer = *found;
      all.free.erase(found);
      return transfer;
    }
  }
  return new Transfer;
}

void give_back(Transfer* transfer) noexcept {
  Downloads& all = downloads();
  const std::lock_guard lock(all.mutex);
  all.free.push_back(transfer);
}

void require_no_capture(const Context& c, const char* what) {
  if (!c.captures) return;
  throw DeviceError(std::string("a step that is recorded for a graph ") + what);
}

}  // namespace

void to_device(void* to, const void* from, size_t bytes, int device) {
  const Context& c = context(device);
  require_no_capture(c, "copies what is on the host to the device and is not one of its inputs");
  if (bytes > kLargest) {  // weights that are loaded: no step waits for them
    ATTUNE_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, c.stream));
    return;
  }
  Uploads& all = uploads(device);
  const std::lock_guard lock(all.mutex);
  Transfer& transfer = bytes <= kSmall ? all.small.take() : all.large.take();
  transfer.prepare(bytes, device);
  std::memcpy(transfer.memory, from, bytes);
  ATTUNE_CUDA(cudaMemcpyAsync(to, transfer.memory, bytes, cudaMemcpyHostToDevice, c.stream));
  ATTUNE_CUDA(cudaEventRecord(transfer.done, c.stream));
}

void to_host(void* to, const void* from, size_t bytes, int device) {
  const Context& c = context(device);
  require_no_capture(c, "waits for a result");
  ATTUNE_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, c.stream));
  ATTUNE_CUDA(cudaStreamSynchronize(c.stream));
}

Transfer* begin_to_host(const void* from, size_t bytes, int device) {
  const Context& c = context(device);
  require_no_capture(c, "copies a result to the host");
  struct GiveBack {
    void operator()(Transfer* transfer) const noexcept { give_back(transfer); }
  };
  std::unique_ptr<Transfer, GiveBack> transfer(take_download(bytes, device));
  transfer->prepare(bytes, device);
  ATTUNE_CUDA(cudaMemcpyAsync(transfer->memory, from, bytes, cudaMemcpyDeviceToHost, c.stream));
  ATTUNE_CUDA(cudaEventRecord(transfer->done, c.stream));
  return transfer.release();
}

void end_to_host(Transfer* transfer, void* to) {
  context(transfer->device);
  const cudaError_t status = cudaEventSynchronize(transfer->done);
  if (status == cudaSuccess) std::memcpy(to, transfer->memory, transfer->bytes);
  give_back(transfer);
  check(status, "cudaEventSynchronize(transfer->done)");
}

void abandon(Transfer* transfer) noexcept { give_back(transfer); }

}  // namespace cuda
}  // namespace attune
