#include <string>

#include "autograd/tape.h"
#include "autograd/tape_internal.h"
#include "framework/fail.h"
#include "framework/kernels/accumulate.h"
#include "framework/kernels/copy.h"

namespace attune {
namespace {

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

void tape_internal::check_outputs(const char* op, std::span<const Variable* const> inputs,
                                  std::span<const Tensor* const> outputs) {
  const std::string* own = parameter_of(inputs);
  if (own != nullptr) last_parameter = *own;
  for (const Tensor* y : outputs) {
    const int64_t bad = first_non_finite(*y);
    if (bad >= 0) fail_non_finite(op, last_parameter, own != nullptr, "the output", *y, bad);
  }
}

// A gradient of the node's formula that is not finite, as AnomalyMode reports it.
void Tape::check_gradients(size_t index) const {
  const Node& node = nodes_[index];
  for (uint32_t k = 0; k < node.inputs; ++k) {
    const uint32_t slot = inputs_[node.first_input + k];
    if (slot == kNoSlot) continue;
    const Slot& s = slots_[slot];
    const bool of_leaf = s.leaf && leads_.empty() && s.leaf->grad_state == Leaf::GradState::kHeld;
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

}  // namespace attune
