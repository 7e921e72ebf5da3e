#pragma once

// For .cpp files only, like framework/hdf5_handle.h.
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "framework/hdf5_handle.h"

namespace attune::hdf5 {

/// An HDF5 file built in memory, so that no failure of a disk happens inside the HDF5 library (which cannot close a
/// file that it cannot flush).
class Image {
 public:
  /// Creates the file with `header_bytes` in front (a power of two, at least 512), calls `fill` with it, closes it.
  /// `expected_bytes` spares growing. Deterministic: no times are stored. Throws IoError naming `who`.
  Image(const std::string& who, size_t header_bytes, size_t expected_bytes, const std::function<void(hid_t)>& fill);
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image();

  /// Everything behind the header.
  std::string_view content() const { return {static_cast<const char*>(memory_) + header_bytes_, content_bytes_}; }

 private:
  static H5FD_file_image_callbacks_t callbacks(Image* image);

  size_t header_bytes_;
  size_t content_bytes_ = 0;
  void* memory_ = nullptr;
};

/// An open file, read from its memory mapping: the HDF5 library sees no other bytes, and opens nothing itself.
class MappedFile {
 public:
  /// Of the first `bytes` of a file, its header included. Throws IoError naming `who`.
  MappedFile(const std::string& who, int descriptor, size_t bytes);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  hid_t id() const { return file_; }

 private:
  size_t bytes_;
  void* memory_ = nullptr;
  hid_t file_ = H5I_INVALID_HID;
};

/// Creation properties of a group whose links remember their order.
Properties group_properties(const std::string& who, hid_t kind);

}  // namespace attune::hdf5
