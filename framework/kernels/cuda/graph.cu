#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "framework/caching_allocator.h"
#include "framework/kernels/cuda/check.h"
#include "framework/kernels/cuda/context.h"
#include "framework/kernels/cuda/graph.h"
#include "framework/kernels/cuda/transfer.h"

namespace attune {

struct StepGraph {
  cudaGraphExec_t kernels = nullptr;
  int device = 0;
  std::vector<Storage*> kept;
};

namespace cuda {
namespace {

std::vector<Storage*> kept;  // by what is recorded

void release(std::vector<Storage*>& storages) noexcept {
  for (Storage* storage : storages) {
    if (storage->references.fetch_sub(1, std::memory_order_acq_rel) == 1) core->free(storage);
  }
  storages.clear();
}

}  // namespace

void keep_while_recorded(const Tensor& x) {
  if (!x.defined() || x.device().is_cpu() || !context(x).captures) return;
  Storage* const storage = x.storage().get();
  if (is_recorded(*storage) || std::find(kept.begin(), kept.end(), storage) != kept.end()) return;
  kept.push_back(storage);
  storage->references.fetch_add(1, std::memory_order_relaxed);
}

void begin_capture(int device) {
  Context& c = context(device);
  // Never given back, like the context.
  if (c.draws == nullptr) ATTUNE_CUDA(cudaMalloc(reinterpret_cast<void**>(&c.draws), sizeof(*c.draws)));
  // Relaxed: the allocator may ask for memory in between.
  ATTUNE_CUDA(cudaStreamBeginCapture(c.stream, cudaStreamCaptureModeRelaxed));
  c.captures = true;
}

StepGraph* end_capture(int device) {
  Context& c = context(device);
  c.captures = false;
  auto graph = std::make_unique<StepGraph>();
  graph->device = device;
  cudaGraph_t recorded = nullptr;
  cudaError_t status = cudaStreamEndCapture(c.stream, &recorded);
  if (status == cudaSuccess) {
    status = cudaGraphInstantiate(&graph->kernels, recorded, 0);
    cudaGraphDestroy(recorded);
  }
  if (status != cudaSuccess) release(kept);
  check(status, "end of a recorded step");
  std::swap(graph->kept, kept);
  return graph.release();
}

void abandon_capture(int device) noexcept {
  Context& c = context(device);
  c.captures = false;
  cudaGraph_t recorded = nullptr;
  cudaStreamEndCapture(c.stream, &recorded);
  if (recorded != nullptr) cudaGraphDestroy(recorded);
  cudaGetLastError();  // what failed has been reported
  release(kept);
}

void replay(StepGraph* graph, uint64_t draws) {
  const Context& c = context(graph->device);
  to_device(c.draws, &draws, sizeof(draws), graph->device);
  ATTUNE_CUDA(cudaGraphLaunch(graph->kernels, c.stream));
}

void drop(StepGraph* graph) noexcept {
  cudaGraphExecDestroy(graph->kernels);
  release(graph->kept);
  delete graph;
}

}  // namespace cuda
}  // namespace attune
