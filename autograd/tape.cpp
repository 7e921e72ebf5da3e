#include "autograd/tape.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>

#include "autograd/tape_hook.h"
#include "autograd/tape_internal.h"
#include "framework/fail.h"

namespace attune {

constinit thread_local tape_internal::Modes tape_internal::modes;
using tape_internal::modes;

namespace {

void update_watched() { modes.watched = modes.anomaly || modes.hook != nullptr; }

}  // namespace

NoGrad::NoGrad() : before_(std::exchange(modes.recording, false)) {}
NoGrad::~NoGrad() { modes.recording = before_; }
bool grad_enabled() { return modes.recording; }

AnomalyMode::AnomalyMode() : before_(std::exchange(modes.anomaly, true)) { update_watched(); }
AnomalyMode::~AnomalyMode() {
  modes.anomaly = before_;
  update_watched();
}

TapeHook::TapeHook() : before_(std::exchange(modes.hook, this)) { update_watched(); }
TapeHook::~TapeHook() {
  modes.hook = before_;
  update_watched();
}
void TapeHook::computed(const char*, std::span<const Variable* const>, std::span<const Tensor* const>) {}
void TapeHook::backward(BackwardStep& step) { step.run(); }

// Of a type without destructor, so that ops in destructors of static objects, which run later than those of
// thread_local ones, find a tape as well.
constinit thread_local Tape* Tape::this_thread_ = nullptr;

void Tape::make_current() {
  struct Owner {
    ~Owner() {
      this_thread_->clear();
      delete std::exchange(this_thread_, nullptr);
    }
  };
  this_thread_ = new Tape;
  thread_local Owner owner;
}

uint32_t Tape::slot_of(const Variable& input, const char* name) {
  if (!input.requires_grad()) return kNoSlot;
  if (!input.leaf_) {
    require<ValueError>(input.result_->tape.load(std::memory_order_relaxed) == this,
                        "{}: an operand {} belongs to what backward() or clear() has consumed (or to another thread's "
                        "tape); compute it again, use detach(), or give that backward() {{.retain = true}}",
                        name, input.value_);
    return input.result_->slot;
  }
  Leaf& leaf = *input.leaf_;
  // Generation and slot in one word: another thread's tape may record the same leaf. A leaf recorded again behind the
  // last slot that the word holds gets another one; its gradient is the leaf's all the same.
  constexpr int kSlotBits = 24;
  const uint64_t held = leaf.tape_slot.load(std::memory_order_relaxed);
  if (held >> kSlotBits == generation_) {
    const auto known = static_cast<uint32_t>(held & ((uint64_t{1} << kSlotBits) - 1));
    // Another has the place by now where the nodes that used the leaf were dropped.
    if (known < slots_.size() && slots_[known].leaf.get() == &leaf) return known;
  }
  const auto index = static_cast<uint32_t>(slots_.size());
  if (index >> kSlotBits == 0) leaf.tape_slot.store(generation_ << kSlotBits | index, std::memory_order_relaxed);
  add_slot(leaf.value, leaf.name.empty() ? "leaf" : leaf.name.c_str()).leaf = input.leaf_;
  return index;
}

TapeSlot& Tape::add_slot(const Tensor& like, const char* op) {
  Slot& slot = slots_.emplace_back();
  slot.shape = like.shape();
  slot.dtype = like.dtype();
  slot.device = like.device();
  slot.op = op;
  slot.node = static_cast<uint32_t>(nodes_.size());
  return slot;
}

bool Tape::begin_node(const char* name, std::span<const Variable* const> inputs,
                      std::span<const Tensor* const> outputs) {
  if (modes.watched) [[unlikely]] {
    if (modes.anomaly) tape_internal::check_outputs(name, inputs, outputs);
    if (modes.hook != nullptr) modes.hook->computed(name, inputs, outputs);
  }
  const auto needs_gradient = [](const Variable* v) { return v->requires_grad(); };
  if (!modes.recording || std::none_of(inputs.begin(), inputs.end(), needs_gradient)) return false;
  require<ValueError>(
      !running_, "{}: an op was recorded while backward() runs; double backward is not supported, use NoGrad there",
      name);
  if (nodes_.size() >= next_size_check_) [[unlikely]]
    check_size();
  Node node;
  node.name = name;
  node.number = recorded_;
  node.first_slot = static_cast<uint32_t>(slots_.size());
  node.first_input = static_cast<uint32_t>(inputs_.size());
  node.inputs = static_cast<uint32_t>(inputs.size());
  for (const Variable* input : inputs) inputs_.push_back(slot_of(*input, name));
  node.first_output = static_cast<uint32_t>(slots_.size());
  node.outputs = static_cast<uint32_t>(outputs.size());
  for (size_t i = node.first_input; i < inputs_.size(); ++i) {
    if (inputs_[i] != kNoSlot) ++slots_[inputs_[i]].consumers;
  }
  for (const Tensor* y : outputs) add_slot(*y, name);
  nodes_.push_back(node);
  ++live_;
  ++recorded_;
  return true;
}

// Evaluation without NoGrad keeps everything that it computes. Training in which a single step records this much is
// rare.
void Tape::check_size() {
  constexpr size_t kFirst = 1024;
  constexpr size_t kNodes = size_t{1} << 21;
  constexpr size_t kBytes = size_t{1} << 30;
  static std::atomic<bool> warned{false};
  sweep();
  const size_t bytes = memory_stats().bytes_in_use;
  if (next_size_check_ == 0) bytes_at_begin_ = bytes;
  const size_t grown = bytes - std::min(bytes, bytes_at_begin_);
  next_size_check_ = std::max(kFirst, 2 * nodes_.size());
  if ((live_ < kNodes && grown < kBytes) || warned.exchange(true)) return;
  const std::string line = fmt::format(
      "attune: the tape holds {} ops that no backward() has consumed; {} MiB more are in use than when it was empty; "
      "compute what needs no gradient under NoGrad\n",
      live_, grown >> 20);
  std::fputs(line.c_str(), stderr);  // where that cannot be written, nothing is lost
}

void Tape::link(Variable& out, uint32_t index) {
  const uint32_t slot = nodes_.back().first_output + index;
  out.result_ = ResultRef(new_result());
  out.result_->slot = slot;
  out.result_->tape.store(this, std::memory_order_relaxed);
  slots_[slot].result = out.result_;
}

}  // namespace attune
