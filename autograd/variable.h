#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "framework/tensor.h"

namespace attune {

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
  std::mutex rounding;  ///< held by as_bfloat16()
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

/// A Tensor with a place on the tape. What ops (autograd/ops/ops.h) and layers take and return.
///
/// A Variable made from a Tensor is a leaf: with requires_grad its gradient accumulates over backward() calls until
/// zero_grad(). A Variable returned by an op lives until the tape is consumed; its gradient dies with the tape.
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
  bool requires_grad() const { return leaf_ ? leaf_->requires_grad : generation_ != 0; }
  /// Leaves only: freezes or unfreezes. Throws ValueError for results of ops.
  void set_requires_grad(bool requires_grad);

  /// The accumulated gradient of a leaf; an undefined tensor when there is none.
  Tensor grad() const;
  /// Forgets the gradient of a leaf (its memory is kept and overwritten by the next backward()).
  void zero_grad();

  /// Gradients of this scalar with respect to every leaf it depends on; consumes the tape. Throws ShapeError when this
  /// holds more than one element and ValueError when it does not depend on a leaf that requires a gradient.
  void backward() const;
  /// The same, for sum(this * seed). seed: shape and dtype of this.
  void backward(const Tensor& seed) const;

  /// The value without its history.
  Variable detach() const { return Variable(value()); }

  /// The single element. Throws ShapeError unless numel() == 1.
  double item() const { return value().item(); }

  const LeafRef& leaf() const { return leaf_; }

 private:
  friend class Tape;

  LeafRef leaf_;
  Tensor value_;
  uint64_t generation_ = 0;  // of the tape that recorded it; 0 for values without history
  uint32_t slot_ = 0;
};

}  // namespace attune
