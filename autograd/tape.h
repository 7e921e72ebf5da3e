#pragma once

// Memory contract of gradients, everywhere: a gradient is written (=) where it is the first of its slot and added (+=)
// otherwise. Grads::target says which; nothing is zero-filled just to be added to.

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "autograd/saved_tensor.h"
#include "autograd/variable.h"

namespace attune {

class TapeHook;

/// A tensor that has a gradient during backward(): a leaf or the output of a node.
struct TapeSlot {
  Tensor grad;
  Shape shape;
  DType dtype = DType::kFloat32;
  Device device;
  LeafRef leaf;
  ResultRef result;  ///< of an output that handles may be left to
  const char* op = nullptr;
  uint32_t node = 0;       ///< whose output it is
  uint32_t consumers = 0;  ///< uses as an input of recorded nodes
};

/// Where a gradient goes: `tensor` is contiguous; written when !accumulate, added to otherwise.
struct GradTarget {
  Tensor tensor;
  bool accumulate = false;
};

/// What a backward closure sees: the gradients of its outputs, and where those of its inputs go.
class Grads {
 public:
  /// Gradient of output i: contiguous, with that output's shape and dtype. Undefined when nothing depends on it (only
  /// possible for ops with several outputs).
  const Tensor& dy(int i = 0) const;
  /// Takes the gradient of output i out, so that the closure may overwrite it when its storage is unique().
  Tensor take_dy(int i = 0);
  /// The closure will be called again (BackwardOptions::retain): what it keeps must stay as it is.
  bool retained() const;
  /// Whether input i wants a gradient.
  bool needs(int i) const;
  /// Adds dx to the gradient of input i. Shape, dtype and device are validated; does nothing when !needs(i).
  /// The first gradient is kept without copying, so dx must not be written to afterwards.
  void add(int i, Tensor dx);
  /// Memory for the gradient of input i, to be filled by a kernel. Only when needs(i).
  GradTarget target(int i);
  /// The gradient of input i, zero-filled when it is the first: for scatters and slices. Only when needs(i).
  Tensor accumulator(int i);

 private:
  friend class Tape;
  friend class BackwardStep;
  Grads(Tape& tape, uint32_t node) : tape_(tape), node_(node) {}
  TapeSlot& output(int i) const;
  uint32_t input(int i) const;
  TapeSlot& needed(int i) const;

  Tape& tape_;
  uint32_t node_;
};

/// The record of one thread: nodes in the order in which ops ran. backward() is a loop from the end.
class Tape {
 public:
  static Tape& current() {
    if (this_thread_ == nullptr) [[unlikely]]
      make_current();
    return *this_thread_;
  }

  /// Records an op with one output, unless no input requires a gradient or recording is off. `backward` is called as
  /// backward(Grads&); its captures are exactly what it keeps. `name` must outlive the tape (a literal).
  template <class F>
  Variable record(const char* name, Tensor y, std::initializer_list<const Variable*> inputs, F&& backward) {
    Variable out = result(std::move(y));
    const Tensor* values[] = {&out.value_};
    if (begin_node(name, {inputs.begin(), inputs.size()}, values)) {
      emplace(std::forward<F>(backward));
      link(out, 0);
    }
    return out;
  }

  /// The same for any number of inputs and outputs.
  template <class F>
  std::vector<Variable> record_many(const char* name, std::vector<Tensor> ys, std::span<const Variable* const> inputs,
                                    F&& backward) {
    std::vector<Variable> outs;
    std::vector<const Tensor*> values;
    outs.reserve(ys.size());
    for (Tensor& y : ys) outs.push_back(result(std::move(y)));
    for (Variable& out : outs) values.push_back(&out.value_);
    if (begin_node(name, inputs, values)) {
      emplace(std::forward<F>(backward));
      for (size_t i = 0; i < outs.size(); ++i) link(outs[i], static_cast<uint32_t>(i));
    }
    return outs;
  }

  /// A fixed number of outputs without a vector, for ops on the hot path.
  template <size_t N, class F>
  std::array<Variable, N> record_array(const char* name, std::array<Tensor, N> ys,
                                       std::initializer_list<const Variable*> inputs, F&& backward) {
    std::array<Variable, N> outs;
    std::array<const Tensor*, N> values;
    for (size_t i = 0; i < N; ++i) {
      outs[i] = result(std::move(ys[i]));
      values[i] = &outs[i].value_;
    }
    if (begin_node(name, {inputs.begin(), inputs.size()}, values)) {
      emplace(std::forward<F>(backward));
      for (size_t i = 0; i < N; ++i) link(outs[i], static_cast<uint32_t>(i));
    }
    return outs;
  }

  /// The same for two.
  template <class F>
  std::pair<Variable, Variable> record_pair(const char* name, Tensor y0, Tensor y1,
                                            std::initializer_list<const Variable*> inputs, F&& backward) {
    auto outs = record_array<2>(name, std::array{std::move(y0), std::move(y1)}, inputs, std::forward<F>(backward));
    return {std::move(outs[0]), std::move(outs[1])};
  }

  /// Variable::backward().
  void backward(const Variable& root, const Tensor& seed, const BackwardOptions& options = {});
  /// attune::grad().
  std::vector<Tensor> grad(const Variable& root, const Tensor& seed, std::span<const Variable> inputs,
                           const GradOptions& options);

  /// Forgets everything recorded; Variables of it become stale.
  void clear();
  /// Number of nodes that are recorded.
  size_t size() const { return live_; }
  /// Number of nodes that were ever recorded: a name for the next one.
  uint64_t recorded() const { return recorded_; }
  /// Name of the op whose backward runs; null when none does.
  const char* running_op() const { return running_ ? nodes_[running_node_].name : nullptr; }

  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

 private:
  friend class Grads;
  friend class BackwardStep;
  friend class ResultRef;

  /// kConsumed: backward() has passed it, and nodes that were recorded later may still name its outputs.
  enum class NodeState : uint8_t { kRecorded, kConsumed, kDropped };

  struct Node {
    const char* name = nullptr;
    uint32_t first_slot = 0;  // of those that it brought: leaves, then its outputs
    uint32_t first_input = 0;
    uint32_t inputs = 0;
    uint32_t first_output = 0;
    uint32_t outputs = 0;
    uint32_t block = 0;  // that holds the closure
    NodeState state = NodeState::kRecorded;
    uint64_t number = 0;
    void (*run)(void* closure, Grads& grads) = nullptr;
    void (*destroy)(void* closure) = nullptr;
    void* closure = nullptr;
  };

  using Slot = TapeSlot;

  /// Memory of closures. Used again when none is left in it.
  struct Block {
    std::unique_ptr<std::byte[]> memory;
    uint32_t closures = 0;
  };

  /// A gradient that grad() is asked for.
  struct Asked {
    uint32_t slot;
    bool of_leaf;
    Tensor* gradient;
  };

  static constexpr uint32_t kNoSlot = ~uint32_t{0};

  static void make_current();

  static Variable result(Tensor y) {
    Variable out;
    out.value_ = std::move(y);
    return out;
  }
  bool begin_node(const char* name, std::span<const Variable* const> inputs, std::span<const Tensor* const> outputs);
  void link(Variable& out, uint32_t index);
  uint32_t slot_of(const Variable& input, const char* name);
  Slot& add_slot(const Tensor& like, const char* op);
  void check_size();
  void check_gradients(size_t index) const;
  void* allocate(size_t bytes);

  // What is recorded for results that nobody can reach is freed (tape_memory.cpp).
  TapeResult* new_result();
  void recycle(TapeResult* result);
  void result_dropped(const TapeResult& result);
  bool unreachable(const Node& node) const;
  void drop(uint32_t index);
  void release(Node& node, NodeState state);
  void pop_released();
  void sweep();
  void compact();

  // backward() (tape_backward.cpp).
  void require_recorded(const Variable& root, const Tensor& seed, const char* who) const;
  void require_not_consumed(const Variable& root, uint32_t root_slot, const char* who) const;
  void pass(uint32_t root_slot, const Tensor& seed, bool retain);
  bool visit(size_t index, TapeHook* observer);
  void finish_gradient(uint32_t index);
  static Tensor hooked(const Slot& slot, const GradientHook& hook);
  std::vector<bool> leading_to(const std::vector<uint32_t>& inputs, size_t nodes) const;
  bool takes_gradient(uint32_t slot) const { return slot != kNoSlot && (leads_.empty() || leads_[slot]); }
  bool adds_to_leaf(const Slot& slot) const { return slot.leaf && leads_.empty(); }

  template <class F>
  void emplace(F&& backward) {
    using Closure = std::decay_t<F>;
    static_assert(alignof(Closure) <= alignof(std::max_align_t));
    void* memory = allocate(sizeof(Closure));
    Node& node = nodes_.back();
    node.closure = new (memory) Closure(std::forward<F>(backward));
    node.run = [](void* closure, Grads& grads) { (*static_cast<Closure*>(closure))(grads); };
    node.destroy = [](void* closure) { static_cast<Closure*>(closure)->~Closure(); };
    node.block = block_;
    ++blocks_[block_].closures;
  }

  static constinit thread_local Tape* this_thread_;

  std::vector<Node> nodes_;
  std::vector<uint32_t> inputs_;  // slots of all nodes' inputs, kNoSlot where no gradient is wanted
  std::vector<Slot> slots_;
  std::vector<Block> blocks_;  // kept from step to step
  std::vector<uint32_t> empty_blocks_;
  uint32_t block_ = 0;  // that closures are put into
  size_t block_used_ = 0;
  std::vector<TapeResult*> free_results_;
  std::vector<uint32_t> to_drop_;
  size_t live_ = 0;      // nodes in state kRecorded
  size_t consumed_ = 0;  // in state kConsumed
  uint64_t recorded_ = 0;
  uint64_t generation_;
  size_t next_size_check_ = 0;  // number of nodes
  size_t bytes_at_begin_ = 0;
  size_t running_node_ = 0;
  bool running_ = false;
  bool dropping_ = false;
  // Of grad(): slots through which the inputs are reached, empty in backward().
  std::vector<bool> leads_;
  std::vector<Asked> asked_;
};

/// While it lives, this thread records nothing.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};
bool grad_enabled();

/// While it lives, every op of this thread checks its outputs and gradients: the first NaN or infinity throws Error
/// naming the op, the parameter that it or the op before it uses ("encoder.block0.attn.q.weight"), whether it arose in
/// the forward or the backward pass, and where in the tensor.
class AnomalyMode {
 public:
  AnomalyMode();
  ~AnomalyMode();
  AnomalyMode(const AnomalyMode&) = delete;
  AnomalyMode& operator=(const AnomalyMode&) = delete;

 private:
  bool before_;
};

}  // namespace attune
