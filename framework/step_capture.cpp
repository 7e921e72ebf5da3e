#include "framework/step_capture.h"

namespace attune {
namespace {

thread_local StepCapture* running = nullptr;

}  // namespace

StepCapture* StepCapture::current() { return running; }

StepCapture::StepCapture(Device device, std::span<const Tensor> inputs, std::span<const Tensor> copies)
    : device_(device), inputs_(inputs), copies_(copies) {
  cuda_plugin().begin_capture(device.index);
  running = this;
}

StepCapture::~StepCapture() {
  running = nullptr;
  if (!ended_) cuda_plugin().abandon_capture(device_.index);
}

StepGraph* StepCapture::end() {
  running = nullptr;
  ended_ = true;
  return cuda_plugin().end_capture(device_.index);
}

Tensor StepCapture::copy_of(const Tensor& host) const {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Tensor& input = inputs_[i];
    if (input.raw() == host.raw() && input.dtype() == host.dtype() && input.numel() == host.numel() &&
        host.is_contiguous()) {
      return copies_[i].view(host.shape());
    }
  }
  return {};
}

}  // namespace attune
