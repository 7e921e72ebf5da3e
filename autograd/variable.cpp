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
  struct Lock {
    std::atomic<bool>& held;
    explicit Lock(std::atomic<bool>& flag) : held(flag) {
      while (held.exchange(true, std::memory_order_acquire)) held.wait(true, std::memory_order_relaxed);
    }
    ~Lock() {
      held.store(false, std::memory_order_release);
      held.notify_one();
    }
  } lock(rounding);
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
  require<ValueError>(is_leaf() || !result_,
                      "set_requires_grad: this Variable is the result of an op; use detach() to cut its history");
  if (leaf_) {
    leaf_->requires_grad = requires_grad;
  } else if (requires_grad) {
    *this = Variable(value_, true);
  }
}

Tensor Variable::grad() const {
  if (result_) return result_->extra != nullptr ? result_->extra->grad : Tensor();
  if (!leaf_ || leaf_->grad_state != Leaf::GradState::kHeld) return {};
  return leaf_->grad;
}

void Variable::zero_grad() {
  if (leaf_ && leaf_->grad_state == Leaf::GradState::kHeld) leaf_->grad_state = Leaf::GradState::kEmpty;
  if (result_ && result_->extra != nullptr) result_->extra->grad = Tensor();
}

TapeResult::Extra& Variable::extra(const char* who) const {
  require<ValueError>(static_cast<bool>(result_), "{}: this Variable is not the result of an op that was recorded",
                      who);
  if (result_->extra == nullptr) result_->extra = std::make_unique<TapeResult::Extra>();
  return *result_->extra;
}

void Variable::retain_grad() {
  if (!leaf_) extra("retain_grad").retains_grad = true;
}

void Variable::register_hook(GradientHook hook) {
  require<ValueError>(static_cast<bool>(hook), "register_hook: the hook is empty");
  extra("register_hook").hooks.push_back(std::move(hook));
}

namespace {

Tensor ones_like_scalar(const Variable& root, const char* who) {
  require<ShapeError>(root.numel() == 1,
                      "{}: the root has shape {}, expected a single element; reduce it or give a seed gradient", who,
                      root.shape());
  return Tensor::full(root.shape(), 1, root.dtype(), root.device());
}

}  // namespace

void Variable::backward(const BackwardOptions& options) const {
  Tape::current().backward(*this, ones_like_scalar(*this, "backward"), options);
}

void Variable::backward(const Tensor& seed, const BackwardOptions& options) const {
  Tape::current().backward(*this, seed, options);
}

std::vector<Tensor> grad(const Variable& output, std::span<const Variable> inputs, const GradOptions& options) {
  const Tensor seed = options.seed.defined() ? options.seed : ones_like_scalar(output, "grad");
  return Tape::current().grad(output, seed, inputs, options);
}

std::vector<Tensor> grad(const Variable& output, std::initializer_list<Variable> inputs, const GradOptions& options) {
  return grad(output, std::span(inputs.begin(), inputs.size()), options);
}

void SavedTensor::fail_changed() const {
  const char* op = Tape::current().running_op();
  fail<ValueError>(
      "{}: {} ({}) that backward needs was changed in place after it was used: version {} then, {} now; change a "
      "clone() instead",
      op != nullptr ? op : "saved tensor", name_, tensor_, version_, tensor_.version());
}

}  // namespace attune
