#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "framework/pending_copy.h"

namespace attune::examples {

/// Where training steps leave what people want to see of them. On the CPU it is seen at once. A CUDA device is not
/// waited for: what a step found is seen when the next one has been given to the device, so that figures are those of
/// the step before; only the first step of all is waited for, for there to be any.
class StepFigures {
 public:
  /// Sees tensors of a step, on the host. With two words of captures at most a steady step allocates nothing.
  using See = std::function<void(int64_t step, const std::vector<Tensor>& found)>;

  /// device: of the steps.
  explicit StepFigures(Device device) : late_(!device.is_cpu()) {}

  /// Copies of tensors of a step; leaves an empty list.
  void add(int64_t step, std::vector<PendingCopy>& found, See see);
  /// Waits for what has not been seen.
  void settle();
  /// What has not been seen never is.
  void forget() { pending_.clear(); }

 private:
  std::vector<PendingCopy> pending_;
  std::vector<Tensor> seen_;
  See see_;
  int64_t step_ = 0;  // of what is pending
  bool late_;
  bool first_ = true;
};

}  // namespace attune::examples
