#include "framework/allocation_limit.h"

#include <utility>

#include "framework/fail.h"

namespace attune {

thread_local constinit AllocationLimit* AllocationLimit::current_ = nullptr;

AllocationLimit::AllocationLimit(size_t bytes, std::string message)
    : left_(bytes), message_(std::move(message)), outer_(std::exchange(current_, this)) {}

AllocationLimit::~AllocationLimit() { current_ = outer_; }

void AllocationLimit::count(size_t bytes) {
  // A tensor and the layer that it belongs to have their own size besides.
  constexpr size_t kOwnBytes = 1024;
  if (bytes > left_ || left_ - bytes < kOwnBytes) throw FormatError(message_);
  left_ -= bytes + kOwnBytes;
  if (outer_ != nullptr) outer_->count(bytes);
}

}  // namespace attune
