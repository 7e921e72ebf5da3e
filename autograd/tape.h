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

class Tape;
class TapeHook;

/// A tensor that has a gradient during backward(): a leaf or the output of a node.
struct TapeSlot {
  Tensor grad;
  Shape shape;
  DType dtype = DType::kFloat32;
  Device device;
  LeafRef leaf;
  const char* op = nullptr;
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
  static Tape& current();

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

  void backward(const Variable& root, const Tensor& seed);

  /// Forgets everything recorded; Variables of it become stale.
  void clear();
  size_t size() const { return nodes_.size(); }
  /// Name of the op whose backward runs; null when none does.
  const char* running_op() const { return running_ ? nodes_[running_node_].name : nullptr; }

  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

 private:
  friend class Grads;
  friend class BackwardStep;

  struct Node {
    const char* name = nullptr;
    uint32_t first_input = 0;
    uint32_t inputs = 0;
    uint32_t first_output = 0;
    uint32_t outputs = 0;
    void (*run)(void* closure, Grads& grads) = nullptr;
    void (*destroy)(void* closure) = nullptr;
    void* closure = nullptr;
  };

  using Slot = TapeSlot;

  static constexpr uint32_t kNoSlot = ~uint32_t{0};

  static Variable result(Tensor y) {
    Variable out;
    out.value_ = std::move(y);
    return out;
  }
  bool begin_node(const char* name, std::span<const Variable* const> inputs, std::span<const Tensor* const> outputs);
  void link(Variable& out, uint32_t index) const;
  uint32_t slot_of(const Variable& input, const char* name);
  void check_size();
  void check_gradients(size_t index) const;
  void* allocate(size_t bytes);

  template <class F>
  void emplace(F&& backward) {
    using Closure = std::decay_t<F>;
    static_assert(alignof(Closure) <= alignof(std::max_align_t));
    void* memory = allocate(sizeof(Closure));
    Node& node = nodes_.back();
    node.closure = new (memory) Closure(std::forward<F>(backward));
    node.run = [](void* closure, Grads& grads) { (*static_cast<Closure*>(closure))(grads); };
    node.destroy = [](void* closure) { static_cast<Closure*>(closure)->~Closure(); };
  }

  std::vector<Node> nodes_;
  std::vector<uint32_t> inputs_;  // slots of all nodes' inputs, kNoSlot where no gradient is wanted
  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<std::byte[]>> blocks_;  // closures; kept from step to step
  size_t block_ = 0;
  size_t block_used_ = 0;
  uint64_t generation_;
  size_t next_size_check_ = 0;  // number of nodes
  size_t bytes_at_begin_ = 0;
  size_t running_node_ = 0;
  bool running_ = false;
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
