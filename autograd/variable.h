#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "framework/tensor.h"

namespace attune {

class Tape;

/// What all handles to one leaf (a parameter or an input that needs a gradient) share.
struct Leaf {
  /// What the gradient's memory holds: nothing of use, zeros, or a gradient that more is added to.
  enum class GradState : uint8_t { kEmpty, kZero, kHeld };

  Tensor value;
  Tensor grad;  ///< memory for the gradient; an optimizer may have placed it in its flat buffer
  GradState grad_state = GradState::kEmpty;
  bool requires_grad = false;
  bool scattered = false;  ///< gradients are scattered into zeros: an optimizer leaves zeros behind
  uint32_t modules = 0;    ///< that have registered it: more than one where it is shared
  std::string name;        ///< dotted module path, for messages

  /// The leaf's slot on the tape that last recorded it: see Tape::slot_of. One word, so that tapes of several threads
  /// may record one leaf.
  std::atomic<uint64_t> tape_slot{0};
  std::atomic<uint32_t> references{0};

  /// The value in bfloat16: rounded once, and again, in the same memory, when it has changed (Tensor::version()). May
  /// be called by several threads at once while nothing changes the value.
  Tensor as_bfloat16();

  /// What as_bfloat16() last gave: valid while `from` is still the value, in the version that was rounded.
  struct Rounded {
    Tensor from;
    uint32_t version = 0;
    Tensor value;
  } rounded;
  std::atomic<bool> rounding{false};  ///< a lock, held by as_bfloat16()
};

/// Counted handle to a Leaf.
class LeafRef {
 public:
  LeafRef() = default;
  static LeafRef make(Tensor value, bool requires_grad);
  LeafRef(const LeafRef& other) : leaf_(other.leaf_) {
    if (leaf_ != nullptr) leaf_->references.fetch_add(1, std::memory_order_relaxed);
  }
  LeafRef(LeafRef&& other) noexcept : leaf_(std::exchange(other.leaf_, nullptr)) {}
  LeafRef& operator=(LeafRef other) noexcept {
    std::swap(leaf_, other.leaf_);
    return *this;
  }
  ~LeafRef();

  explicit operator bool() const { return leaf_ != nullptr; }
  Leaf* operator->() const { return leaf_; }
  Leaf& operator*() const { return *leaf_; }
  Leaf* get() const { return leaf_; }
  bool operator==(const LeafRef& other) const { return leaf_ == other.leaf_; }

 private:
  Leaf* leaf_ = nullptr;
};

/// What looks at a gradient in backward(): what it returns, where that is defined, takes its place. Shape, dtype and
/// device stay.
using GradientHook = std::function<Tensor(const Tensor& dy)>;

/// What all handles to one result of an op share: its place on the tape, and what is asked of its gradient.
struct TapeResult {
  struct Extra {
    bool retains_grad = false;
    Tensor grad;
    std::vector<GradientHook> hooks;
  };

  std::atomic<Tape*> tape{nullptr};  ///< that holds the result; nullptr once backward() has consumed it
  std::atomic<uint32_t> references{0};
  uint32_t slot = 0;
  std::unique_ptr<Extra> extra;  ///< for the few results that have any
};

/// Counted handle to a TapeResult. The tape has one of its own: when that is the last and nothing recorded depends on
/// the result, what was recorded for it is freed.
class ResultRef {
 public:
  ResultRef() = default;
  explicit ResultRef(TapeResult* result) : result_(result) {
    result->references.fetch_add(1, std::memory_order_relaxed);
  }
  ResultRef(const ResultRef& other) : result_(other.result_) {
    if (result_ != nullptr) result_->references.fetch_add(1, std::memory_order_relaxed);
  }
  ResultRef(ResultRef&& other) noexcept : result_(std::exchange(other.result_, nullptr)) {}
  ResultRef& operator=(ResultRef other) noexcept {
    std::swap(result_, other.result_);
    return *this;
  }
  ~ResultRef() {
    if (result_ != nullptr) release();
  }

  explicit operator bool() const { return result_ != nullptr; }
  TapeResult* operator->() const { return result_; }
  TapeResult* get() const { return result_; }

 private:
  void release();

  TapeResult* result_ = nullptr;
};

struct BackwardOptions {
  /// Keeps what was recorded, for another backward() through the same ops.
  bool retain = false;
};

/// A Tensor with a place on the tape. What ops (autograd/ops/ops.h) and layers take and return.
///
/// A Variable made from a Tensor is a leaf: with requires_grad its gradient accumulates over backward() calls until
/// zero_grad(). What is recorded for the result of an op is freed by the backward() that passes through it, and when
/// no handle to the result or to anything computed from it is left.
///
/// Threads. Each has a tape and random streams of its own. Forward passes of one model, in any precision, may run in
/// several threads at once while nothing changes its parameters, under NoGrad or not; backward() and optimizers are for
/// one thread at a time per model, since gradients are shared. Different models may be trained in different threads.
class Variable {
 public:
  /// Undefined; stands for an optional operand that is not there.
  Variable() = default;
  explicit Variable(Tensor value, bool requires_grad = false);

  bool defined() const { return leaf_ || value_.defined(); }
  const Tensor& value() const { return leaf_ ? leaf_->value : value_; }
  const Shape& shape() const { return value().shape(); }
  int rank() const { return value().rank(); }
  int64_t dim(int axis) const { return value().dim(axis); }
  int64_t numel() const { return value().numel(); }
  DType dtype() const { return value().dtype(); }
  Device device() const { return value().device(); }
  /// The value in another dtype, itself where it has that. bfloat16 of a leaf is rounded once and kept until the value
  /// changes; an optimizer's step rounds its parameters again, all at once.
  Tensor value_as(DType dtype) const;

  bool is_leaf() const { return static_cast<bool>(leaf_); }
  /// True when a gradient flows to it: a leaf made so, or the result of an op on such.
  bool requires_grad() const { return leaf_ ? leaf_->requires_grad : static_cast<bool>(result_); }
  /// Leaves only: freezes or unfreezes. Throws ValueError for results of ops.
  void set_requires_grad(bool requires_grad);

  /// The accumulated gradient of a leaf, or of a result after retain_grad(); an undefined tensor when there is none.
  Tensor grad() const;
  /// Forgets the gradient (a leaf's memory is kept and overwritten by the next backward()).
  void zero_grad();
  /// Asks for the gradient of a result of an op: backward() adds it to grad(). Nothing changes for a leaf. Throws
  /// ValueError for a result without history.
  void retain_grad();
  /// Calls `hook` in backward() with the gradient of a result of an op once it is complete, before it flows on. Several
  /// are called in the order in which they were given. Throws ValueError for leaves and for results without history.
  void register_hook(GradientHook hook);

  /// Adds the gradients of this scalar to those of every leaf it depends on, and frees what was recorded for it; all
  /// else that was recorded stays. Throws ShapeError when this holds more than one element, ValueError when it does not
  /// depend on a leaf that requires a gradient or when an earlier backward() has consumed a part of its history. After
  /// an error within the pass, nothing is recorded any more.
  void backward(const BackwardOptions& options = {}) const;
  /// The same, for sum(this * seed). seed: shape and dtype of this.
  void backward(const Tensor& seed, const BackwardOptions& options = {}) const;

  /// The value without its history.
  Variable detach() const { return Variable(value()); }

  /// The single element. Throws ShapeError unless numel() == 1.
  double item() const { return value().item(); }

  const LeafRef& leaf() const { return leaf_; }

 private:
  friend class Tape;

  TapeResult::Extra& extra(const char* who) const;

  LeafRef leaf_;
  Tensor value_;
  ResultRef result_;  // none for values without history
};

struct GradOptions {
  Tensor seed{};              ///< gradient of the output; 1 for a scalar where undefined
  bool retain = false;        ///< as in BackwardOptions
  bool allow_unused = false;  ///< an undefined tensor, not an error, for an input that the output does not depend on
};

/// Gradients of `output` with respect to `inputs`, leaves or results of ops, in their order; grad() of no leaf changes,
/// and only ops between the two are passed. Double backward is not supported: the gradients are tensors. Throws as
/// backward() does, and ValueError naming an input that needs no gradient or that the output does not depend on.
std::vector<Tensor> grad(const Variable& output, std::span<const Variable> inputs, const GradOptions& options = {});
std::vector<Tensor> grad(const Variable& output, std::initializer_list<Variable> inputs,
                         const GradOptions& options = {});

}  // namespace attune
