#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

namespace attune::testing {

/// A file that lies in memory, for readers that take paths: no disk is waited for.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(memfd_create("input", MFD_CLOEXEC)) {
    if (descriptor_ < 0) std::abort();
  }
  explicit MemoryFile(std::string_view content) : MemoryFile() { write(content); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { close(descriptor_); }

  void write(std::string_view content) const {
    const bool written = ftruncate(descriptor_, 0) == 0 &&
                         pwrite(descriptor_, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size());
    if (!written) std::abort();
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

/// What a reader may answer: an Error is one line, and not a long one.
inline void require_message(std::string_view text) {
  constexpr size_t kMost = 2000;
  if (text.empty() || text.size() > kMost || text.find('\n') != std::string_view::npos) std::abort();
}

}  // namespace attune::testing
