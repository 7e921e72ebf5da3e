#pragma once

#include "framework/tensor.h"

namespace attune {

struct Transfer;

/// A copy of a tensor on its way to the host, so that nobody waits for the device in between:
///
///     PendingCopy copy(loss);   // begins, in order with what the device computes
///     ...                       // more work for the device
///     copy.get().item()         // as the tensor was when the copy began
///
/// On the CPU nothing is ever on its way, and the copy is the tensor itself.
class PendingCopy {
 public:
  /// Of nothing: get() returns an undefined tensor.
  PendingCopy() = default;
  explicit PendingCopy(const Tensor& x);
  PendingCopy(PendingCopy&& other) noexcept;
  PendingCopy& operator=(PendingCopy&& other) noexcept;
  ~PendingCopy();

  /// The copy, contiguous unless the tensor was on the CPU and is not. Waits where it has not arrived.
  Tensor get();

 private:
  Tensor host_;
  Transfer* transfer_ = nullptr;  // nullptr: host_ is the copy
};

}  // namespace attune
