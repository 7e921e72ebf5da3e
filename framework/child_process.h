#pragma once

// For .cpp files only: work that must not harm this process, such as reading foreign files by a library that trusts
// them, is done in a child process, and its results come back as bytes.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace attune {

class ByteSink;
class ByteSource;

struct ChildLimits {
  uint64_t memory_bytes;     ///< besides what this process has
  uint64_t cpu_seconds;      ///< of computing
  int silence_seconds = 60;  ///< without a byte
};

/// Runs `produce` in a forked child process under limits and, at the same time, `consume` here. An Error that `produce`
/// throws is thrown here, as FormatError or IoError; a child that crashes, computes too long or asks for too much
/// memory is a FormatError that begins with `who`, and one that cannot be started or is killed from outside an IoError.
/// The child is gone in any case, and it neither prints nor leaves a core file. On x86-64 and ARM64 the kernel lets it
/// do nothing but compute, take memory and write its results: no file can be opened.
///
/// `produce` runs in a copy of this thread alone: it must not use what other threads may hold at the moment of the fork
/// (such as this library's kernels), except malloc. Files that it uses have descriptors above 2.
void run_in_child(const std::string& who, const ChildLimits& limits, const std::function<void(ByteSink&)>& produce,
                  const std::function<void(ByteSource&)>& consume);

/// Where a child process puts its results.
class ByteSink {
 public:
  explicit ByteSink(int descriptor) : descriptor_(descriptor) {}

  void bytes(const void* from, size_t count);
  void number(uint64_t value) { bytes(&value, sizeof value); }
  /// Its length, then its bytes.
  void text(std::string_view value);
  void flush();

 private:
  friend void run_in_child(const std::string&, const ChildLimits&, const std::function<void(ByteSink&)>&,
                           const std::function<void(ByteSource&)>&);
  void frame(char kind, std::string_view content);

  int descriptor_;
  std::string buffer_;
};

/// What a child process wrote. Nothing in it is to be believed: the child read what it was not to trust. Every function
/// throws FormatError when there is less than it asks for.
class ByteSource {
 public:
  ByteSource(const std::string& who, int descriptor, int silence_seconds)
      : who_(who), descriptor_(descriptor), silence_seconds_(silence_seconds) {}

  void bytes(void* to, size_t count);
  uint64_t number();
  /// Throws FormatError for one of more than `max_bytes`, before memory is taken for it.
  std::string text(uint64_t max_bytes);

 private:
  friend void run_in_child(const std::string&, const ChildLimits&, const std::function<void(ByteSink&)>&,
                           const std::function<void(ByteSource&)>&);
  void next_frame();
  void raw(void* to, size_t count);
  void expect_end();

  const std::string& who_;
  int descriptor_;
  int silence_seconds_;
  uint64_t left_ = 0;  // of the frame that is being read
};

}  // namespace attune
