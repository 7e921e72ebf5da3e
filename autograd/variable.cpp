#include "autograd/variable.h"

#include "autograd/saved_tensor.h"
#include "autograd/tape.h"
#include "framework/fail.h"

namespace attune {

LeafRef LeafRef::make(Tensor value, bool requires_grad) {
  LeafRef ref;
  ref.leaf_ = new Leaf;
  ref.leaf_->value = std::move(value);
  ref.leaf_->requires_grad = requires_grad;
  ref.leaf_->references.store(1, std::memory_order_relaxed);
  return ref;
}

LeafRef::~LeafRef() {
  if (leaf_ != nullptr && leaf_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete leaf_;
}

Variable::Variable(Tensor value, bool requires_grad) {
  if (!requires_grad) {
    value_ = std::move(value);  // a constant needs no leaf
    return;
  }
  require<DTypeError>(is_floating(value.dtype()), "Variable: {} cannot require a gradient, only floating types can",
                      dtype_name(value.dtype()));
  leaf_ = LeafRef::make(std::move(value), true);
}

Tensor Leaf::as_bfloat16() {
  const std::lock_guard lock(rounding);
  Tensor& narrow = rounded.value;
  const Tensor& wide = value;
  if (narrow.defined() && std::as_const(rounded.from).raw() == wide.raw() && rounded.version == wide.version()) {
    return narrow;
  }
  if (narrow.defined() && narrow.shape() == wide.shape() && narrow.device() == wide.device()) {
    narrow.copy_(wide);  // raises its version: what was kept of it for backward is no longer that
  } else {
    narrow = wide.to(DType::kBFloat16);
  }
  rounded.from = wide;
  rounded.version = wide.version();
  return narrow;
}

Tensor Variable::value_as(DType dtype) const {
  const Tensor& own = value();
  if (!own.defined() || own.dtype() == dtype) return own;
  return leaf_ && dtype == DType::kBFloat16 ? leaf_->as_bfloat16() : own.to(dtype);
}

void Variable::set_requires_grad(bool requires_grad) {
  require<ValueError>(is_leaf() || generation_ == 0,
                      "set_requires_grad: this Variable is the result of an op; use detach() to cut its history");
  if (leaf_) {
    leaf_->requires_grad = requires_grad;
  } else if (requires_grad) {
    *this = Variable(value_, true);
  }
}

Tensor Variable::grad() const {
  if (!leaf_ || leaf_->grad_state != Leaf::GradState::kHeld) return {};
  return leaf_->grad;
}

void Variable::zero_grad() {
  if (leaf_ && leaf_->grad_state == Leaf::GradState::kHeld) leaf_->grad_state = Leaf::GradState::kEmpty;
}

void Variable::backward() const {
  require<ShapeError>(numel() == 1,
                      "backward: the root has shape {}, expected a single element; reduce it or give a seed gradient",
                      shape());
  Tape::current().backward(*this, Tensor::full(shape(), 1, dtype(), device()));
}

void Variable::backward(const Tensor& seed) const { Tape::current().backward(*this, seed); }

void SavedTensor::fail_changed() const {
  const char* op = Tape::current().running_op();
  fail<ValueError>(
      "{}: {} ({}) that backward needs was changed in place after it was used: version {} then, {} now; change a "
      "clone() instead",
      op != nullptr ? op : "saved tensor", name_, tensor_, version_, tensor_.version());
}

}  // namespace attune
