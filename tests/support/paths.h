#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace attune::testing {

/// An empty folder of its own below the system's temporary folder; removed with everything in it at the end of scope.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Path of `name` inside.
  std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  /// Creates a file (and the folders above it) with these bytes; returns its path.
  std::string write(std::string_view name, std::string_view bytes) const;
  /// The same, compressed by gzip.
  std::string write_gzip(std::string_view name, std::string_view bytes) const;

 private:
  std::filesystem::path path_;
};

/// Path of `name` in the folder of the programs that were built with the running tests.
std::string program_path(std::string_view name);

/// All bytes of a file; fails the running test when it cannot be read.
std::string read_bytes(const std::string& path);

/// Where a public data set lies: $ATTUNE_DATA/<name>. Skips the running test visibly when the variable is not set or
/// the path is not there.
std::string data_path(std::string_view name);

/// Path below the folder of golden files, $ATTUNE_GOLDEN/<name>; skips like data_path.
std::string golden_path(std::string_view name);

}  // namespace attune::testing
