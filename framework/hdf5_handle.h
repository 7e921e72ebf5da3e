#pragma once

// For .cpp files only, like framework/fail.h.
#include <hdf5.h>

#include <mutex>
#include <string>
#include <utility>

#include "framework/dtype.h"

namespace attune::hdf5 {

/// Held while the HDF5 library is used: distributions build it for one thread at a time.
std::mutex& mutex();

/// Turns HDF5's own error printing off while it lives; failures are quoted in exceptions instead.
class Silence {
 public:
  Silence() {
    H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~Silence() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

/// Throws IoError "<who>: <call> failed: <HDF5's innermost message>".
[[noreturn]] void fail_call(const std::string& who, const char* call);

/// Passes on the result of an HDF5 call. A negative one throws, see fail_call.
template <class T>
T check(T result, const std::string& who, const char* call) {
  if (result < 0) fail_call(who, call);
  return result;
}

/// Owns an identifier: Handle<H5Dclose> for a dataset.
template <herr_t (*Close)(hid_t)>
class Handle {
 public:
  Handle(hid_t id, const std::string& who, const char* call) : id_(check(id, who, call)) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)) {}
  Handle& operator=(Handle&&) = delete;
  ~Handle() {
    if (id_ >= 0) Close(id_);
  }
  operator hid_t() const { return id_; }  // NOLINT(google-explicit-constructor): handed to HDF5 as it is
  /// Closes now, so that a failure is seen.
  void close(const std::string& who, const char* call) { check(Close(std::exchange(id_, H5I_INVALID_HID)), who, call); }

 private:
  hid_t id_;
};

using File = Handle<H5Fclose>;
using Group = Handle<H5Gclose>;
using Object = Handle<H5Oclose>;
using Dataset = Handle<H5Dclose>;
using Space = Handle<H5Sclose>;
using Type = Handle<H5Tclose>;
using Attribute = Handle<H5Aclose>;
using Properties = Handle<H5Pclose>;

/// How elements are stored: bfloat16 as its bits in uint16, bool as uint8. Not to be closed.
hid_t element_type(DType dtype);

/// Texts in UTF-8: of `bytes` bytes, shorter ones filled up with NUL, or of any length (H5T_VARIABLE).
Type text_type(const std::string& who, size_t bytes);

}  // namespace attune::hdf5

/// check(H5Xyz(...), who, "H5Xyz")
#define ATTUNE_HDF5(WHO, FUNCTION, ...) ::attune::hdf5::check(FUNCTION(__VA_ARGS__), WHO, #FUNCTION)
/// hdf5::Dataset set = ATTUNE_HDF5_OPEN(Dataset, who, H5Dopen2, ...)
#define ATTUNE_HDF5_OPEN(KIND, WHO, FUNCTION, ...) ::attune::hdf5::KIND(FUNCTION(__VA_ARGS__), WHO, #FUNCTION)
