#include "autograd/tape.h"

#include <algorithm>
#include <atomic>

#include "autograd/tape_hook.h"
#include "framework/fail.h"
#include "framework/kernels/accumulate.h"
#include "framework/kernels/copy.h"

namespace attune {
namespace {

constexpr size_t kBlockBytes = size_t{1} << 16;

thread_local bool recording = true;
thread_local bool anomaly = false;
thread_local TapeHook* hook = nullptr;
thread_local bool watched = false;  // anomaly or hook: what every op asks

void update_watched() { watched = anomaly || hook != nullptr; }

// Unique over all threads, so that a Variable of another thread's tape is recognised as well.
std::atomic<uint64_t> generations{0};
uint64_t next_generation() { return generations.fetch_add(1, std::memory_order_relaxed) + 1; }

}  // namespace

NoGrad::NoGrad() : before_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() { recording = before_; }
bool grad_enabled() { return recording; }

AnomalyMode::AnomalyMode() : before_(std::exchange(anomaly, true)) { update_watched(); }
AnomalyMode::~AnomalyMode() {
  anomaly = before_;
  update_watched();
}

TapeHook::TapeHook() : before_(std::exchange(hook, this)) { update_watched(); }
TapeHook::~TapeHook() {
  hook = before_;
  update_watched();
}
void TapeHook::computed(const char*, std::span<const Variable* const>, std::span<const Tensor* const>) {}
void TapeHook::backward(BackwardStep& step) { step.run(); }

Tape& Tape::current() {
  thread_local Tape tape;
  return tape;
}

Tape::Tape() : generation_(next_generation()) {}
Tape::~Tape() { clear(); }

void Tape::clear() {
  for (Node& node : nodes_) {
    if (node.closure != nullptr) node.destroy(node.closure);
  }
  nodes_.clear();
  inputs_.clear();
  slots_.clear();
  block_ = 0;
  block_used_ = 0;
  generation_ = next_generation();
}

void* Tape::allocate(size_t bytes) {
  constexpr size_t kAlign = alignof(std::max_align_t);
  bytes = (bytes + kAlign - 1) / kAlign * kAlign;
  require<ValueError>(bytes <= kBlockBytes, "tape: a backward closure of {} bytes is too large", bytes);
  if (block_ < blocks_.size() && block_used_ + bytes > kBlockBytes) {
    ++block_;
    block_used_ = 0;
  }
  if (block_ == blocks_.size()) blocks_.push_back(std::make_unique_for_overwrite<std::byte[]>(kBlockBytes));
  void* memory = blocks_[block_].get() + block_used_;
  block_used_ += bytes;
  return memory;
}

uint32_t Tape::slot_of(const Variable& input, const char* name) {
  if (!input.requires_grad()) return kNoSlot;
  if (!input.leaf_) {
    require<ValueError>(input.generation_ == generation_,
                        "{}: an operand {} belongs to a tape that backward() or clear() has consumed (or to another "
                        "thread's); compute it again or use detach()",
                        name, input.value_);
    return input.slot_;
  }
  Leaf& leaf = *input.leaf_;
  if (leaf.generation != generation_) {
    leaf.generation = generation_;
    leaf.slot = static_cast<uint32_t>(slots_.size());
    Slot& slot = slots_.emplace_back();
    slot.shape = leaf.value.shape();
    slot.dtype = leaf.value.dtype();
    slot.device = leaf.value.device();
    slot.leaf = input.leaf_;
    slot.op = leaf.name.empty() ? "leaf" : leaf.name.c_str();
  }
  return leaf.slot;
}

bool Tape::begin_node(const char* name, std::span<const Variable* const> inputs,
                      std::span<const Tensor* const> outputs) {
  if (watched) [[unlikely]] {
    if (anomaly) {
      for (const Tensor* y : outputs) check_finite("the output", name, *y);
    }
    if (hook != nullptr) hook->computed(name, inputs, outputs);
  }
  if (!recording || std::none_of(inputs.begin(), inputs.end(), [](const Variable* v) { return v->requires_grad(); })) {
    return false;
  }
  require<ValueError>(!running_, "{}: an op was recorded while backward() runs; use NoGrad there", name);
  Node node;
  node.name = name;
  node.first_input = static_cast<uint32_t>(inputs_.size());
  node.inputs = static_cast<uint32_t>(inputs.size());
  for (const Variable* input : inputs) inputs_.push_back(slot_of(*input, name));
  node.first_output = static_cast<uint32_t>(slots_.size());
  node.outputs = static_cast<uint32_t>(outputs.size());
  for (const Tensor* y : outputs) {
    Slot& slot = slots_.emplace_back();
    slot.shape = y->shape();
    slot.dtype = y->dtype();
    slot.device = y->device();
    slot.op = name;
  }
  nodes_.push_back(node);
  return true;
}

void Tape::link(Variable& out, uint32_t index) const {
  out.generation_ = generation_;
  out.slot_ = nodes_.back().first_output + index;
}

void Tape::check_finite(const char* what, const char* name, const Tensor& tensor) const {
  if (!tensor.defined() || !is_floating(tensor.dtype())) return;
  int64_t bad = -1;
  kernels::find_non_finite(tensor, bad);
  if (bad < 0) return;
  Shape index = tensor.shape();
  int64_t rest = bad;
  for (int axis = tensor.rank() - 1; axis >= 0; --axis) {
    index[axis] = rest % tensor.shape()[axis];
    rest /= tensor.shape()[axis];
  }
  fail<ValueError>("{}: {} of shape {} holds the first NaN or infinity, at index {}", name, what, tensor.shape(),
                   index);
}

void Tape::backward(const Variable& root, const Tensor& seed) {
  require<ValueError>(
      root.requires_grad(),
      "backward: the root {} depends on nothing that requires a gradient (or was computed under NoGrad)", root.value());
  require<ShapeError>(seed.shape() == root.shape() && seed.dtype() == root.dtype(),
                      "backward: the seed is {}, expected {}", seed, root.value());
  require<ValueError>(!running_, "backward: called inside another backward()");
  const uint32_t root_slot = slot_of(root, "backward");

  // Whatever happens, the tape is left empty: an error in a closure must not leave half a graph behind.
  struct Finish {
    Tape& tape;
    bool recording_before;
    ~Finish() {
      tape.running_ = false;
      recording = recording_before;
      tape.clear();
    }
  } finish{*this, std::exchange(recording, false)};
  running_ = true;

  if (root.leaf_) {
    // A leaf is its own gradient's only path.
    Leaf& leaf = *root.leaf_;
    if (!leaf.grad.defined()) {
      leaf.grad = seed.clone();
    } else if (leaf.grad_state != Leaf::GradState::kHeld) {
      kernels::copy(seed, leaf.grad);
    } else {
      kernels::accumulate(seed, leaf.grad);
    }
    leaf.grad_state = Leaf::GradState::kHeld;
    return;
  }
  slots_[root_slot].grad = seed.contiguous();
  TapeHook* const observer = hook;
  for (size_t i = nodes_.size(); i-- > 0;) {
    Node& node = nodes_[i];
    bool wanted = false;
    for (uint32_t k = 0; k < node.outputs; ++k) wanted |= slots_[node.first_output + k].grad.defined();
    if (wanted) {
      running_node_ = i;
      Grads grads(*this, static_cast<uint32_t>(i));
      if (observer == nullptr) [[likely]] {
        node.run(node.closure, grads);
      } else {
        BackwardStep step(*this, i);
        observer->backward(step);
      }
      if (anomaly) {
        for (uint32_t k = 0; k < node.inputs; ++k) {
          const uint32_t slot = inputs_[node.first_input + k];
          if (slot == kNoSlot) continue;
          const Slot& s = slots_[slot];
          const bool of_leaf = s.leaf && s.leaf->grad_state == Leaf::GradState::kHeld;
          check_finite("a gradient in backward", node.name, of_leaf ? s.leaf->grad : s.grad);
        }
      }
    }
    for (uint32_t k = 0; k < node.outputs; ++k) slots_[node.first_output + k].grad = Tensor();
    node.destroy(node.closure);
    node.closure = nullptr;
  }
}

const Tensor& Grads::dy(int i) const {
  const Tape::Node& node = tape_.nodes_[node_];
  return tape_.slots_[node.first_output + static_cast<uint32_t>(i)].grad;
}

Tensor Grads::take_dy(int i) {
  const Tape::Node& node = tape_.nodes_[node_];
  return std::exchange(tape_.slots_[node.first_output + static_cast<uint32_t>(i)].grad, Tensor());
}

bool Grads::needs(int i) const {
  return tape_.inputs_[tape_.nodes_[node_].first_input + static_cast<uint32_t>(i)] != Tape::kNoSlot;
}

void Grads::add(int i, Tensor dx) {
  const Tape::Node& node = tape_.nodes_[node_];
  const uint32_t index = tape_.inputs_[node.first_input + static_cast<uint32_t>(i)];
  if (index == Tape::kNoSlot) return;
  Tape::Slot& slot = tape_.slots_[index];
  require<ShapeError>(dx.shape() == slot.shape && dx.dtype() == slot.dtype && dx.device() == slot.device,
                      "{}: backward gave {} as the gradient of input {} (from {}), expected {} {} on {}", node.name, dx,
                      i, slot.op, dtype_name(slot.dtype), slot.shape, slot.device);
  if (slot.leaf) {
    Leaf& leaf = *slot.leaf;
    if (!leaf.grad.defined()) {
      // Kept for longer than this backward(): not while somebody else sees the storage.
      leaf.grad = dx.is_contiguous() && dx.storage().unique() ? dx : dx.clone();
    } else if (leaf.grad_state == Leaf::GradState::kHeld) {
      kernels::accumulate(dx, leaf.grad);
    } else {
      kernels::copy(dx, leaf.grad);
    }
    leaf.grad_state = Leaf::GradState::kHeld;
    return;
  }
  if (!slot.grad.defined()) {
    slot.grad = dx.contiguous();
    return;
  }
  // In place only where nobody else sees the storage: the same gradient may have been handed to two inputs.
  if (!slot.grad.storage().unique()) slot.grad = slot.grad.clone();
  kernels::accumulate(dx, slot.grad);
}

GradTarget Grads::target(int i) {
  const Tape::Node& node = tape_.nodes_[node_];
  Tape::Slot& slot = tape_.slots_[tape_.inputs_[node.first_input + static_cast<uint32_t>(i)]];
  if (slot.leaf) {
    Leaf& leaf = *slot.leaf;
    if (!leaf.grad.defined()) leaf.grad = Tensor::empty(slot.shape, slot.dtype, slot.device);
    const bool held = leaf.grad_state == Leaf::GradState::kHeld;
    leaf.grad_state = Leaf::GradState::kHeld;
    return {leaf.grad, held};
  }
  if (!slot.grad.defined()) {
    slot.grad = Tensor::empty(slot.shape, slot.dtype, slot.device);
    return {slot.grad, false};
  }
  if (!slot.grad.storage().unique()) slot.grad = slot.grad.clone();
  return {slot.grad, true};
}

Tensor Grads::accumulator(int i) {
  const Tape::Node& node = tape_.nodes_[node_];
  Tape::Slot& slot = tape_.slots_[tape_.inputs_[node.first_input + static_cast<uint32_t>(i)]];
  const bool zeroed = slot.leaf && slot.leaf->grad_state == Leaf::GradState::kZero;
  if (slot.leaf) slot.leaf->scattered = true;
  GradTarget to = target(i);
  if (!to.accumulate && !zeroed) kernels::fill(to.tensor, 0);
  return to.tensor;
}

const char* BackwardStep::op() const { return tape_.nodes_[node_].name; }
int BackwardStep::inputs() const { return static_cast<int>(tape_.nodes_[node_].inputs); }
int BackwardStep::outputs() const { return static_cast<int>(tape_.nodes_[node_].outputs); }
uint32_t& BackwardStep::slot(int input) {
  return tape_.inputs_[tape_.nodes_[node_].first_input + static_cast<uint32_t>(input)];
}
bool BackwardStep::needs(int input) { return slot(input) != Tape::kNoSlot; }
Tensor& BackwardStep::dy(int output) {
  return tape_.slots_[tape_.nodes_[node_].first_output + static_cast<uint32_t>(output)].grad;
}

void BackwardStep::run() {
  Grads grads(tape_, static_cast<uint32_t>(node_));
  tape_.nodes_[node_].run(tape_.nodes_[node_].closure, grads);
}

std::vector<Tensor> BackwardStep::run_apart() {
  // For the time of the call every input has a slot of its own.
  const auto first = static_cast<uint32_t>(tape_.slots_.size());
  std::vector<uint32_t> before;
  for (int i = 0; i < inputs(); ++i) {
    before.push_back(slot(i));
    Tape::Slot apart;
    if (before.back() != Tape::kNoSlot) {
      const Tape::Slot& own = tape_.slots_[before.back()];
      apart.shape = own.shape;
      apart.dtype = own.dtype;
      apart.device = own.device;
      apart.op = own.op;
      slot(i) = first + static_cast<uint32_t>(i);
    }
    tape_.slots_.push_back(std::move(apart));
  }
  run();
  std::vector<Tensor> contributions;
  for (int i = 0; i < inputs(); ++i) {
    const auto index = static_cast<size_t>(i);
    contributions.push_back(std::move(tape_.slots_[first + index].grad));
    slot(i) = before[index];
  }
  tape_.slots_.resize(first);
  return contributions;
}

void BackwardStep::deliver(int input, Tensor dx) {
  Grads(tape_, static_cast<uint32_t>(node_)).add(input, std::move(dx));
}

void BackwardStep::forget(int input) {
  if (!needs(input)) return;
  Tape::Slot& held = tape_.slots_[slot(input)];
  held.grad = Tensor();
  if (held.leaf) held.leaf->grad_state = Leaf::GradState::kEmpty;
}

}  // namespace attune
