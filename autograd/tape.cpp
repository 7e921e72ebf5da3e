#include "autograd/tape.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>

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

// For messages of AnomalyMode, which of forty linears it was: the last parameter that an op of this thread has used.
thread_local std::string last_parameter;

const std::string* parameter_of(std::span<const Variable* const> inputs) {
  for (const Variable* input : inputs) {
    if (input->is_leaf() && !input->leaf()->name.empty()) return &input->leaf()->name;
  }
  return nullptr;
}

int64_t first_non_finite(const Tensor& tensor) {
  int64_t bad = -1;
  if (tensor.defined() && is_floating(tensor.dtype())) kernels::find_non_finite(tensor, bad);
  return bad;
}

/// own: the op uses the parameter itself.
[[noreturn]] void fail_non_finite(const char* op, const std::string& parameter, bool own, const char* what,
                                  const Tensor& tensor, int64_t position) {
  Shape index = tensor.shape();
  for (int axis = tensor.rank() - 1; axis >= 0; --axis) {
    index[axis] = position % tensor.shape()[axis];
    position /= tensor.shape()[axis];
  }
  const std::string where =
      parameter.empty() ? std::string() : fmt::format(" {} '{}'", own ? "with" : "after the op with", parameter);
  fail<ValueError>("{}{}: {} of shape {} holds the first NaN or infinity, at index {}", op, where, what, tensor.shape(),
                   index);
}

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

// Of a type without destructor, so that ops in destructors of static objects, which run later than those of
// thread_local ones, find a tape as well.
Tape& Tape::current() {
  struct Owner {
    Tape** tape;
    ~Owner() { delete std::exchange(*tape, nullptr); }
  };
  thread_local Tape* tape = nullptr;
  if (tape == nullptr) [[unlikely]] {
    tape = new Tape;
    thread_local Owner owner{&tape};
  }
  return *tape;
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
  next_size_check_ = 0;
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
  // Generation and slot in one word: another thread's tape may record the same leaf. A leaf recorded again behind the
  // last slot that the word holds gets another one; its gradient is the leaf's all the same.
  constexpr int kSlotBits = 24;
  const uint64_t held = leaf.tape_slot.load(std::memory_order_relaxed);
  if (held >> kSlotBits == generation_) return static_cast<uint32_t>(held & ((uint64_t{1} << kSlotBits) - 1));
  const auto index = static_cast<uint32_t>(slots_.size());
  if (index >> kSlotBits == 0) leaf.tape_slot.store(generation_ << kSlotBits | index, std::memory_order_relaxed);
  Slot& slot = slots_.emplace_back();
  slot.shape = leaf.value.shape();
  slot.dtype = leaf.value.dtype();
  slot.device = leaf.value.device();
  slot.leaf = input.leaf_;
  slot.op = leaf.name.empty() ? "leaf" : leaf.name.c_str();
  return index;
}

bool Tape::begin_node(const char* name, std::span<const Variable* const> inputs,
                      std::span<const Tensor* const> outputs) {
  if (watched) [[unlikely]] {
    if (anomaly) {
      const std::string* own = parameter_of(inputs);
      if (own != nullptr) last_parameter = *own;
      for (const Tensor* y : outputs) {
        const int64_t bad = first_non_finite(*y);
        if (bad >= 0) fail_non_finite(name, last_parameter, own != nullptr, "the output", *y, bad);
      }
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
  if (nodes_.size() >= next_size_check_) [[unlikely]]
    check_size();
  return true;
}

// Evaluation without NoGrad keeps everything that it computes. Training in which a single step records this much is
// rare.
void Tape::check_size() {
  constexpr size_t kFirst = 1024;
  constexpr size_t kNodes = size_t{1} << 21;
  constexpr size_t kBytes = size_t{1} << 30;
  static std::atomic<bool> warned{false};
  const size_t bytes = memory_stats().bytes_in_use;
  if (next_size_check_ == 0) bytes_at_begin_ = bytes;
  const size_t grown = bytes - std::min(bytes, bytes_at_begin_);
  next_size_check_ = std::max(kFirst, 2 * nodes_.size());
  if ((nodes_.size() < kNodes && grown < kBytes) || warned.exchange(true)) return;
  const std::string line = fmt::format(
      "attune: the tape holds {} ops that no backward() has consumed; {} MiB more are in use than when it was empty; "
      "compute what needs no gradient under NoGrad\n",
      nodes_.size(), grown >> 20);
  std::fputs(line.c_str(), stderr);  // where that cannot be written, nothing is lost
}

void Tape::link(Variable& out, uint32_t index) const {
  out.generation_ = generation_;
  out.slot_ = nodes_.back().first_output + index;
}

// A gradient of the node's formula that is not finite, as AnomalyMode reports it.
void Tape::check_gradients(size_t index) const {
  const Node& node = nodes_[index];
  for (uint32_t k = 0; k < node.inputs; ++k) {
    const uint32_t slot = inputs_[node.first_input + k];
    if (slot == kNoSlot) continue;
    const Slot& s = slots_[slot];
    const bool of_leaf = s.leaf && s.leaf->grad_state == Leaf::GradState::kHeld;
    const Tensor& gradient = of_leaf ? s.leaf->grad : s.grad;
    const int64_t bad = first_non_finite(gradient);
    if (bad < 0) continue;
    // The nearest parameter that this op, or one before it, uses.
    for (size_t i = index + 1; i-- > 0;) {
      for (uint32_t j = 0; j < nodes_[i].inputs; ++j) {
        const uint32_t other = inputs_[nodes_[i].first_input + j];
        if (other == kNoSlot || !slots_[other].leaf || slots_[other].leaf->name.empty()) continue;
        fail_non_finite(node.name, slots_[other].leaf->name, i == index, "a gradient in backward", gradient, bad);
      }
    }
    fail_non_finite(node.name, {}, false, "a gradient in backward", gradient, bad);
  }
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
      if (anomaly) check_gradients(i);
    }
    for (uint32_t k = 0; k < node.outputs; ++k) slots_[node.first_output + k].grad = Tensor();
    node.destroy(node.closure);
    node.closure = nullptr;
  }
}

TapeSlot& Grads::output(int i) const {
  const Tape::Node& node = tape_.nodes_[node_];
  require<ValueError>(i >= 0 && static_cast<uint32_t>(i) < node.outputs,
                      "{}: backward asks for the gradient of output {}, there are {}", node.name, i, node.outputs);
  return tape_.slots_[node.first_output + static_cast<uint32_t>(i)];
}

uint32_t Grads::input(int i) const {
  const Tape::Node& node = tape_.nodes_[node_];
  require<ValueError>(i >= 0 && static_cast<uint32_t>(i) < node.inputs, "{}: backward names input {}, there are {}",
                      node.name, i, node.inputs);
  return tape_.inputs_[node.first_input + static_cast<uint32_t>(i)];
}

TapeSlot& Grads::needed(int i) const {
  const uint32_t slot = input(i);
  require<ValueError>(slot != Tape::kNoSlot, "{}: input {} needs no gradient; ask needs({}) first",
                      tape_.nodes_[node_].name, i, i);
  return tape_.slots_[slot];
}

const Tensor& Grads::dy(int i) const { return output(i).grad; }

Tensor Grads::take_dy(int i) { return std::exchange(output(i).grad, Tensor()); }

bool Grads::needs(int i) const { return input(i) != Tape::kNoSlot; }

void Grads::add(int i, Tensor dx) {
  const Tape::Node& node = tape_.nodes_[node_];
  const uint32_t index = input(i);
  if (index == Tape::kNoSlot) return;
  TapeSlot& slot = tape_.slots_[index];
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
  TapeSlot& slot = needed(i);
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
  const TapeSlot& slot = needed(i);
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
