#pragma once

#include <span>

#include "framework/cuda_plugin.h"
#include "framework/tensor.h"

namespace attune {

/// While it lives, what this thread gives to a CUDA device is recorded instead of computed, with tensors in memory that
/// nothing but recorded steps uses. These share it: they are computed one after another, and what they leave is read,
/// or begins to be, before the next one. What would wait for the device throws DeviceError, and so do copies to it, but
/// those of `inputs`: Tensor::to() finds these in `copies`, where each computation will find other values.
class StepCapture {
 public:
  StepCapture(Device device, std::span<const Tensor> inputs, std::span<const Tensor> copies);
  ~StepCapture();
  StepCapture(const StepCapture&) = delete;
  StepCapture& operator=(const StepCapture&) = delete;

  /// Ends the recording. Throws DeviceError where it cannot be used.
  StepGraph* end();
  /// The one of this thread; nullptr where nothing is recorded.
  static StepCapture* current();
  /// The copy of an input, in any shape; undefined for other tensors.
  Tensor copy_of(const Tensor& host) const;

 private:
  Device device_;
  std::span<const Tensor> inputs_;
  std::span<const Tensor> copies_;
  bool ended_ = false;
};

}  // namespace attune
