#pragma once

// Internal to checkpoint_*.cpp: what reading and writing must agree on. The format is described at Checkpoint.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "framework/checkpoint.h"
#include "framework/child_process.h"

namespace attune::checkpoint_format {

/// Bytes before HDF5's own first byte.
inline constexpr size_t kHeaderBytes = 512;
/// The longest path of an entry.
inline constexpr size_t kMaxPathBytes = 4096;
/// The largest chunk of a dataset.
inline constexpr size_t kChunkBytes = size_t{1} << 20;

inline constexpr const char* kVersionAttribute = "format_version";
inline constexpr const char* kLibraryAttribute = "library_version";
inline constexpr const char* kDigestAttribute = "sha256";
inline constexpr const char* kDTypeAttribute = "dtype";
inline constexpr const char* kShapeAttribute = "shape";
/// `dtype` of texts and lists.
inline constexpr const char* kTextType = "text";

/// The header in front of HDF5's `length` bytes with this digest.
std::string header(size_t length, const std::string& sha256, int version = Checkpoint::kFormatVersion);

/// A file whose bytes were checked before HDF5 sees them: the header, the length and the digest.
class VerifiedFile {
 public:
  /// Throws IoError when it cannot be read and FormatError that says what is wrong.
  explicit VerifiedFile(const std::string& path);
  VerifiedFile(const VerifiedFile&) = delete;
  VerifiedFile& operator=(const VerifiedFile&) = delete;
  ~VerifiedFile();

  /// Its path for messages.
  const std::string& name() const { return name_; }
  /// Of the very file that was checked, whatever has been put in its place since.
  int descriptor() const { return descriptor_; }
  size_t size() const { return size_; }
  /// Of the format, as the header says.
  int version() const { return version_; }

 private:
  [[noreturn]] void fail_errno() const;
  size_t regular_size() const;
  size_t read(char* to, size_t count) const;
  void verify_header(std::string_view found) const;
  void verify_extent() const;

  std::string path_;
  std::string name_;
  int descriptor_ = -1;
  size_t size_ = 0;
  int version_ = 0;
};

/// How the content comes out of the process that reads a file by the HDF5 library: the library's version; for every
/// entry its kind, its path and
///     kTensor  the dtype's number, the rank, the extents, the elements
///     kText    the text
///     kList    the number of texts, the texts
///     kSame    the number of an earlier entry
/// then kEnd and the content's digest.
enum class Part : uint8_t { kEnd, kTensor, kText, kList, kSame };

/// Writes the content of a file for Checkpoint::load(). Throws IoError and FormatError; on a file that was made to do
/// harm the HDF5 library may crash, or take time and memory without end.
void send_content(const VerifiedFile& file, ByteSink& sink);

/// The digest of the content. Tensors: contiguous, on the CPU.
std::string content_sha256(const std::vector<Checkpoint::Entry>& entries);

}  // namespace attune::checkpoint_format
