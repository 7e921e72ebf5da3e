// What the tape holds, and how it is freed: by the pass of backward(), or as soon as no handle to a result and no node
// that was recorded later is left that could reach it.

#include <algorithm>

#include "autograd/tape.h"
#include "autograd/tape_internal.h"
#include "framework/fail.h"

namespace attune {
namespace {

constexpr size_t kBlockBytes = size_t{1} << 16;

// Unique over all threads: what a leaf notes of one tape says nothing to another.
std::atomic<uint64_t> generations{0};
uint64_t next_generation() { return generations.fetch_add(1, std::memory_order_relaxed) + 1; }

}  // namespace

Tape::Tape() : generation_(next_generation()) {}

Tape::~Tape() {
  clear();
  for (TapeResult* result : free_results_) delete result;
}

void Tape::clear() {
  dropping_ = true;  // handles that closures hold are no matter any more
  for (size_t i = nodes_.size(); i-- > 0;) {
    if (nodes_[i].state == NodeState::kRecorded) release(nodes_[i], NodeState::kDropped);
  }
  dropping_ = false;
  to_drop_.clear();
  pop_released();
}

void* Tape::allocate(size_t bytes) {
  constexpr size_t kAlign = alignof(std::max_align_t);
  bytes = (bytes + kAlign - 1) / kAlign * kAlign;
  require<ValueError>(bytes <= kBlockBytes, "tape: a backward closure of {} bytes is too large", bytes);
  if (blocks_.empty() || block_used_ + bytes > kBlockBytes) {
    if (empty_blocks_.empty()) {
      block_ = static_cast<uint32_t>(blocks_.size());
      blocks_.push_back({std::make_unique_for_overwrite<std::byte[]>(kBlockBytes), 0});
    } else {
      block_ = empty_blocks_.back();
      empty_blocks_.pop_back();
    }
    block_used_ = 0;
  }
  void* memory = blocks_[block_].memory.get() + block_used_;
  block_used_ += bytes;
  return memory;
}

TapeResult* Tape::new_result() {
  if (free_results_.empty()) return new TapeResult;
  TapeResult* result = free_results_.back();
  free_results_.pop_back();
  return result;
}

void Tape::recycle(TapeResult* result) {
  result->extra.reset();
  free_results_.push_back(result);
}

void ResultRef::release() {
  Tape* const tape = result_->tape.load(std::memory_order_relaxed);
  Tape* const own = Tape::this_thread_;
  const uint32_t left = result_->references.fetch_sub(1, std::memory_order_acq_rel) - 1;
  if (left == 0 && own != nullptr) {
    own->recycle(result_);
  } else if (left == 0) {
    delete result_;
  } else if (left == 1 && tape != nullptr && tape == own) {
    // The one that is left is the tape's, and nobody but this thread can take it away.
    own->result_dropped(*result_);
  }
}

void Tape::result_dropped(const TapeResult& result) {
  if (running_ || slots_[result.slot].consumers > 0) return;
  drop(slots_[result.slot].node);
}

bool Tape::unreachable(const Node& node) const {
  for (uint32_t k = 0; k < node.outputs; ++k) {
    const Slot& slot = slots_[node.first_output + k];
    if (slot.consumers > 0) return false;
    if (slot.result && slot.result->references.load(std::memory_order_acquire) > 1) return false;
  }
  return true;
}

/// Frees the node and those before it that only it could reach. No recursion: a chain may have a million.
void Tape::drop(uint32_t index) {
  to_drop_.push_back(index);
  if (dropping_) return;
  dropping_ = true;
  while (!to_drop_.empty()) {
    Node& node = nodes_[to_drop_.back()];
    to_drop_.pop_back();
    if (node.state == NodeState::kRecorded && unreachable(node)) release(node, NodeState::kDropped);
  }
  dropping_ = false;
  pop_released();
}

void Tape::release(Node& node, NodeState state) {
  node.state = state;
  --live_;
  if (state == NodeState::kConsumed) ++consumed_;
  for (uint32_t k = 0; k < node.outputs; ++k) {
    Slot& slot = slots_[node.first_output + k];
    slot.grad = Tensor();
    if (!slot.result) continue;
    slot.result->tape.store(nullptr, std::memory_order_relaxed);
    slot.result = ResultRef();
  }
  for (uint32_t k = 0; k < node.inputs; ++k) {
    const uint32_t input = inputs_[node.first_input + k];
    if (input == kNoSlot) continue;
    Slot& slot = slots_[input];
    if (--slot.consumers > 0) continue;
    if (slot.leaf) {
      slot.leaf = LeafRef();
    } else if (dropping_) {
      to_drop_.push_back(slot.node);
    }
  }
  if (node.closure == nullptr) return;
  if (--blocks_[node.block].closures == 0) {
    if (node.block == block_) {
      block_used_ = 0;
    } else {
      empty_blocks_.push_back(node.block);
    }
  }
  // Last: a closure may hold handles to other results.
  node.destroy(std::exchange(node.closure, nullptr));
}

/// Nodes at the end that are no longer recorded leave the tape; nothing refers to them.
void Tape::pop_released() {
  if (running_ || dropping_) return;
  while (!nodes_.empty() && nodes_.back().state != NodeState::kRecorded) {
    if (nodes_.back().state == NodeState::kConsumed) --consumed_;
    slots_.resize(nodes_.back().first_slot);
    inputs_.resize(nodes_.back().first_input);
    nodes_.pop_back();
  }
  if (!nodes_.empty()) return;
  slots_.clear();
  inputs_.clear();
  next_size_check_ = 0;
  generation_ = next_generation();
}

/// Frees also what became unreachable in another thread, and gives back the places of released nodes between others.
void Tape::sweep() {
  for (size_t i = nodes_.size(); i-- > 0;) {
    if (nodes_[i].state == NodeState::kRecorded && unreachable(nodes_[i])) drop(static_cast<uint32_t>(i));
    i = std::min(i, nodes_.size());
  }
  pop_released();
  if (live_ < nodes_.size() / 2) compact();
}

void Tape::compact() {
  std::vector<Node> nodes;
  std::vector<uint32_t> inputs;
  std::vector<Slot> slots;
  std::vector<uint32_t> moved(slots_.size(), kNoSlot);
  const auto move = [&](uint32_t from) {
    moved[from] = static_cast<uint32_t>(slots.size());
    slots.push_back(std::move(slots_[from]));
    slots.back().node = static_cast<uint32_t>(nodes.size());
    if (slots.back().result) slots.back().result->slot = moved[from];
  };
  consumed_ = 0;
  for (Node node : nodes_) {
    const bool named = node.state == NodeState::kConsumed && !unreachable(node);
    if (node.state != NodeState::kRecorded && !named) continue;
    if (named) {
      ++consumed_;
      node.inputs = 0;  // nothing flows through it any more
    }
    node.first_slot = static_cast<uint32_t>(slots.size());
    const uint32_t first_input = std::exchange(node.first_input, static_cast<uint32_t>(inputs.size()));
    for (uint32_t k = 0; k < node.inputs; ++k) {
      const uint32_t input = inputs_[first_input + k];
      if (input != kNoSlot && moved[input] == kNoSlot) move(input);  // a leaf: all else comes with its node
      inputs.push_back(input == kNoSlot ? kNoSlot : moved[input]);
    }
    const uint32_t first_output = std::exchange(node.first_output, static_cast<uint32_t>(slots.size()));
    for (uint32_t k = 0; k < node.outputs; ++k) move(first_output + k);
    nodes.push_back(node);
  }
  nodes_ = std::move(nodes);
  inputs_ = std::move(inputs);
  slots_ = std::move(slots);
}

}  // namespace attune
