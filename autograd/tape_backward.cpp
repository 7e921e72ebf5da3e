#include <algorithm>
#include <exception>

#include "autograd/tape.h"
#include "autograd/tape_hook.h"
#include "autograd/tape_internal.h"
#include "framework/fail.h"
#include "framework/kernels/accumulate.h"
#include "framework/kernels/copy.h"

namespace attune {

using tape_internal::modes;

namespace {

/// sum += gradient, where nothing else that shares the memory of either sees it; either may be undefined, for nothing.
void add_apart(Tensor& sum, const Tensor& gradient) {
  if (!gradient.defined()) return;
  if (!sum.defined()) {
    sum = gradient;
    return;
  }
  sum = sum.clone();
  kernels::accumulate(gradient, sum);
}

}  // namespace

void Tape::require_recorded(const Variable& root, const Tensor& seed, const char* who) const {
  require<ValueError>(root.requires_grad(),
                      "{}: the root {} depends on nothing that requires a gradient (or was computed under NoGrad)", who,
                      root.value());
  require<ShapeError>(seed.shape() == root.shape() && seed.dtype() == root.dtype(), "{}: the seed is {}, expected {}",
                      who, seed, root.value());
  require<ValueError>(!running_, "{}: called inside another backward(); double backward is not supported", who);
}

/// A gradient that would end at what is no longer there is an error before any other is given.
void Tape::require_not_consumed(const Variable& root, uint32_t root_slot, const char* who) const {
  if (consumed_ == 0) return;
  std::vector<bool> reached(slots_.size());
  reached[root_slot] = true;
  for (size_t i = slots_[root_slot].node + size_t{1}; i-- > 0;) {
    const Node& node = nodes_[i];
    bool wanted = false;
    for (uint32_t k = 0; k < node.outputs; ++k) wanted |= reached[node.first_output + k];
    if (!wanted) continue;
    require<ValueError>(node.state != NodeState::kConsumed,
                        "{}: the root {} depends on a result of {} that an earlier backward() has consumed; give that "
                        "one {{.retain = true}}, or compute the root again",
                        who, root.value(), node.name);
    for (uint32_t k = 0; k < node.inputs; ++k) {
      const uint32_t input = inputs_[node.first_input + k];
      if (input != kNoSlot) reached[input] = true;
    }
  }
}

void Tape::backward(const Variable& root, const Tensor& seed, const BackwardOptions& options) {
  require_recorded(root, seed, "backward");
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
  const uint32_t slot = slot_of(root, "backward");
  require_not_consumed(root, slot, "backward");
  pass(slot, seed, options.retain);
}

/// Which slots a gradient passes on its way from results of the first `nodes` nodes to `inputs`.
std::vector<bool> Tape::leading_to(const std::vector<uint32_t>& inputs, size_t nodes) const {
  std::vector<bool> leads(slots_.size());
  for (const uint32_t slot : inputs) leads[slot] = true;
  for (size_t i = 0; i < nodes; ++i) {
    const Node& node = nodes_[i];
    bool any = false;
    for (uint32_t k = 0; k < node.inputs; ++k) {
      const uint32_t input = inputs_[node.first_input + k];
      any |= input != kNoSlot && leads[input];
    }
    for (uint32_t k = 0; any && k < node.outputs; ++k) leads[node.first_output + k] = true;
  }
  return leads;
}

std::vector<Tensor> Tape::grad(const Variable& root, const Tensor& seed, std::span<const Variable> inputs,
                               const GradOptions& options) {
  require_recorded(root, seed, "grad");
  std::vector<Tensor> gradients(inputs.size());
  std::vector<uint32_t> slots;
  // Whatever is thrown: what is asked for points into `gradients`.
  struct Forget {
    Tape& tape;
    ~Forget() {
      tape.leads_.clear();
      tape.asked_.clear();
    }
  } forget{*this};
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Variable& input = inputs[i];
    require<ValueError>(input.requires_grad(), "grad: input {} ({}) needs no gradient", i, input.value());
    const auto ask = [&](uint32_t slot, bool of_leaf) {
      slots.push_back(slot);
      asked_.push_back({slot, of_leaf, &gradients[i]});
    };
    if (!input.leaf_) ask(slot_of(input, "grad"), false);
    // A leaf may have several places.
    for (uint32_t slot = 0; input.leaf_ && slot < slots_.size(); ++slot) {
      if (slots_[slot].leaf == input.leaf_) ask(slot, true);
    }
    if (root.leaf_ && root.leaf_ == input.leaf_) gradients[i] = seed.clone();
  }
  if (!root.leaf_) {
    const uint32_t slot = slot_of(root, "grad");
    require_not_consumed(root, slot, "grad");
    leads_ = leading_to(slots, slots_[slot].node + size_t{1});
    if (leads_[slot]) pass(slot, seed, options.retain);
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    require<ValueError>(gradients[i].defined() || options.allow_unused,
                        "grad: the output {} does not depend on input {} ({}); give {{.allow_unused = true}} for an "
                        "undefined tensor",
                        root.value(), i, inputs[i].value());
  }
  return gradients;
}

void Tape::pass(uint32_t root_slot, const Tensor& seed, bool retain) {
  // Whatever happens, half a graph is not left behind: after an error nothing is.
  struct Finish {
    Tape& tape;
    bool recording_before;
    int exceptions = std::uncaught_exceptions();
    ~Finish() {
      tape.running_ = false;
      modes.recording = recording_before;
      if (std::uncaught_exceptions() > exceptions) {
        tape.clear();
      } else {
        tape.pop_released();
      }
    }
  } finish{*this, std::exchange(modes.recording, false)};
  running_ = true;
  modes.retaining = retain;

  slots_[root_slot].grad = seed.contiguous();
  TapeHook* const observer = modes.hook;
  for (size_t i = slots_[root_slot].node + size_t{1}; i-- > 0;) {
    Node& node = nodes_[i];
    if (node.state != NodeState::kRecorded) continue;
    bool wanted = false;
    for (uint32_t k = 0; k < node.outputs; ++k) wanted |= slots_[node.first_output + k].grad.defined();
    const bool passed = wanted && visit(i, observer);
    if (passed && !retain) {
      release(node, NodeState::kConsumed);
    } else if (unreachable(node)) {
      release(node, NodeState::kDropped);
    } else {
      for (uint32_t k = 0; k < node.outputs; ++k) slots_[node.first_output + k].grad = Tensor();
    }
  }
  for (const Asked& asked : asked_) {
    if (asked.of_leaf) add_apart(*asked.gradient, std::exchange(slots_[asked.slot].grad, Tensor()));
  }
}

/// False where the node's gradients lead to nothing that is asked for.
bool Tape::visit(size_t index, TapeHook* observer) {
  const Node& node = nodes_[index];
  running_node_ = index;
  for (uint32_t k = 0; k < node.outputs; ++k) finish_gradient(node.first_output + k);
  bool leads = leads_.empty();
  for (uint32_t k = 0; !leads && k < node.inputs; ++k) leads = takes_gradient(inputs_[node.first_input + k]);
  if (!leads) return false;
  if (observer == nullptr) [[likely]] {
    Grads grads(*this, static_cast<uint32_t>(index));
    node.run(node.closure, grads);
  } else {
    BackwardStep step(*this, index);
    observer->backward(step);
  }
  if (modes.anomaly) check_gradients(index);
  return true;
}

/// The gradient of a result is complete: what was asked for it is done before it flows on.
void Tape::finish_gradient(uint32_t index) {
  Slot& slot = slots_[index];
  if (!slot.grad.defined()) return;
  if (slot.result && slot.result->extra != nullptr) {
    TapeResult::Extra& extra = *slot.result->extra;
    for (size_t i = 0; i < extra.hooks.size(); ++i) slot.grad = hooked(slot, GradientHook(extra.hooks[i]));
    if (extra.retains_grad) add_apart(extra.grad, slot.grad);
  }
  for (const Asked& asked : asked_) {
    if (asked.slot == index && !asked.of_leaf) add_apart(*asked.gradient, slot.grad);
  }
}

Tensor Tape::hooked(const Slot& slot, const GradientHook& hook) {
  Tensor changed;
  try {
    changed = hook(slot.grad);
  } catch (const std::exception& error) {
    fail<ValueError>("backward: a hook on the gradient of {} {} failed: {}", slot.op, slot.grad, error.what());
  }
  if (!changed.defined()) return slot.grad;
  require<ShapeError>(changed.shape() == slot.shape && changed.dtype() == slot.dtype && changed.device() == slot.device,
                      "backward: a hook on the gradient of {} returned {}, expected {}", slot.op, changed, slot.grad);
  return changed.contiguous();
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
  require<ValueError>(tape_.takes_gradient(slot), "{}: input {} needs no gradient; ask needs({}) first",
                      tape_.nodes_[node_].name, i, i);
  return tape_.slots_[slot];
}

const Tensor& Grads::dy(int i) const { return output(i).grad; }

Tensor Grads::take_dy(int i) { return std::exchange(output(i).grad, Tensor()); }

bool Grads::retained() const { return modes.retaining; }

bool Grads::needs(int i) const { return tape_.takes_gradient(input(i)); }

void Grads::add(int i, Tensor dx) {
  const Tape::Node& node = tape_.nodes_[node_];
  const uint32_t index = input(i);
  if (!tape_.takes_gradient(index)) return;
  TapeSlot& slot = tape_.slots_[index];
  require<ShapeError>(dx.shape() == slot.shape && dx.dtype() == slot.dtype && dx.device() == slot.device,
                      "{}: backward gave {} as the gradient of input {} (from {}), expected {} {} on {}", node.name, dx,
                      i, slot.op, dtype_name(slot.dtype), slot.shape, slot.device);
  if (tape_.adds_to_leaf(slot)) {
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
  if (tape_.adds_to_leaf(slot)) {
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
  const bool to_leaf = tape_.adds_to_leaf(slot);
  const bool zeroed = to_leaf && slot.leaf->grad_state == Leaf::GradState::kZero;
  if (to_leaf) slot.leaf->scattered = true;
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
uint64_t BackwardStep::node() const { return tape_.nodes_[node_].number; }
bool BackwardStep::needs(int input) { return tape_.takes_gradient(slot(input)); }
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
    if (!tape_.leads_.empty()) tape_.leads_.push_back(tape_.takes_gradient(before.back()));
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
  if (!tape_.leads_.empty()) tape_.leads_.resize(first);
  return contributions;
}

void BackwardStep::deliver(int input, Tensor dx) {
  Grads(tape_, static_cast<uint32_t>(node_)).add(input, std::move(dx));
}

void BackwardStep::forget(int input) {
  if (!needs(input)) return;
  Tape::Slot& held = tape_.slots_[slot(input)];
  held.grad = Tensor();
  if (tape_.adds_to_leaf(held)) held.leaf->grad_state = Leaf::GradState::kEmpty;
}

}  // namespace attune
