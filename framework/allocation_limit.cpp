#include "framework/allocation_limit.h"

#include <utility>

#include "framework/fail.h"

namespace attune {

thread_local constinit AllocationLimit* AllocationLimit::current_ = nullptr;

AllocationLimit::AllocationLimit(size_t bytes, size_t tensors, std::string message)
    : bytes_left_(bytes), tensors_left_(tensors), message_(std::move(message)), outer_(std::exchange(current_, this)) {}

AllocationLimit::~AllocationLimit() { current_ = outer_; }

void AllocationLimit::count(size_t bytes) {
  if (bytes > bytes_left_ || tensors_left_ == 0) throw FormatError(message_);
  bytes_left_ -= bytes;
  --tensors_left_;
  if (outer_ != nullptr) outer_->count(bytes);
}

}  // namespace attune
