#pragma once

// Internal to checkpoint_*.cpp: what reading and writing must agree on. The format is described at Checkpoint.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "framework/checkpoint.h"

namespace attune::checkpoint_format {

/// Bytes before HDF5's own first byte.
inline constexpr size_t kHeaderBytes = 512;
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
std::string header(size_t length, const std::string& sha256);

/// Checks the bytes of a file before HDF5 sees them: the header, the length and the digest. Throws IoError when it
/// cannot be read and FormatError that says what is wrong.
void verify_bytes(const std::string& path);

/// The digest of the content. Tensors: contiguous, on the CPU.
std::string content_sha256(const std::vector<Checkpoint::Entry>& entries);

}  // namespace attune::checkpoint_format
