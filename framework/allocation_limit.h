#pragma once

// For .cpp files only.

#include <cstddef>
#include <string>

namespace attune {

/// While it lives, this thread makes at most so many tensors of so many bytes in all, freed ones included: what a file
/// describes must not fill the memory. StorageRef::allocate() throws FormatError(message) beyond. Inside another one,
/// both hold.
class AllocationLimit {
 public:
  AllocationLimit(size_t bytes, size_t tensors, std::string message);
  AllocationLimit(const AllocationLimit&) = delete;
  AllocationLimit& operator=(const AllocationLimit&) = delete;
  ~AllocationLimit();

  /// What StorageRef::allocate() calls.
  static void take(size_t bytes) {
    if (current_ != nullptr) [[unlikely]]
      current_->count(bytes);
  }

 private:
  void count(size_t bytes);

  static thread_local constinit AllocationLimit* current_;

  size_t bytes_left_;
  size_t tensors_left_;
  std::string message_;
  AllocationLimit* outer_;
};

}  // namespace attune
