#pragma once

#include <utility>

#include "framework/tensor.h"

namespace attune {

/// A tensor kept for backward. Remembers its storage's version, so that an in-place change between forward and
/// backward is an error that names the op, not a wrong gradient. Backward closures keep every tensor in one of these,
/// except for what the op made itself and hands to nobody.
class SavedTensor {
 public:
  SavedTensor() = default;
  /// name: the operand in messages, "mask keep"; must outlive the tensor (a literal).
  explicit SavedTensor(Tensor tensor, const char* name = "a tensor")
      : tensor_(std::move(tensor)), name_(name), version_(tensor_.version()) {}

  bool defined() const { return tensor_.defined(); }
  /// Throws ValueError when the tensor was changed in place since it was saved.
  const Tensor& get() const {
    if (tensor_.version() != version_) fail_changed();
    return tensor_;
  }

 private:
  [[noreturn]] void fail_changed() const;

  Tensor tensor_;
  const char* name_ = "a tensor";
  uint32_t version_ = 0;
};

}  // namespace attune
