#include "framework/pending_copy.h"

#include <utility>

#include "framework/cuda_plugin.h"

namespace attune {

PendingCopy::PendingCopy(const Tensor& x) : host_(x) {
  if (x.device().is_cpu()) return;
  // A copy made here to be contiguous may go before it has been read: who gets its memory next writes to it later.
  const Tensor from = x.contiguous();
  host_ = Tensor::empty(x.shape(), x.dtype());
  const size_t bytes = static_cast<size_t>(x.numel()) * dtype_size(x.dtype());
  if (bytes > 0) transfer_ = cuda_plugin().begin_to_host(from.raw(), bytes, x.device().index);
}

PendingCopy::PendingCopy(PendingCopy&& other) noexcept
    : host_(std::move(other.host_)), transfer_(std::exchange(other.transfer_, nullptr)) {}

PendingCopy& PendingCopy::operator=(PendingCopy&& other) noexcept {
  std::swap(host_, other.host_);
  std::swap(transfer_, other.transfer_);
  return *this;
}

PendingCopy::~PendingCopy() {
  if (transfer_ != nullptr) cuda_plugin().abandon(transfer_);
}

Tensor PendingCopy::get() {
  if (transfer_ != nullptr) cuda_plugin().end_to_host(std::exchange(transfer_, nullptr), host_.raw());
  return host_;
}

}  // namespace attune
