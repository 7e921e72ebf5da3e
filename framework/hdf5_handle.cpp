#include "framework/hdf5_handle.h"

#include "framework/fail.h"

namespace attune::hdf5 {

std::mutex& mutex() {
  static std::mutex mutex;
  return mutex;
}

void fail_call(const std::string& who, const char* call) {
  std::string message;
  // Walking upward begins where the error was first seen; that entry says what is wrong, the others only who called.
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned depth, const H5E_error2_t* error, void* out) -> herr_t {
        if (depth == 0 && error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
        return 0;
      },
      &message);
  fail<IoError>("{}: {} failed: {}", who, call, message.empty() ? "HDF5 gives no reason" : message);
}

hid_t element_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return H5T_IEEE_F32LE;
    case DType::kFloat64:
      return H5T_IEEE_F64LE;
    case DType::kBFloat16:
      return H5T_STD_U16LE;
    case DType::kInt64:
      return H5T_STD_I64LE;
    case DType::kBool:
    case DType::kUInt8:
      return H5T_STD_U8LE;
    case DType::kInt32:
      return H5T_STD_I32LE;
  }
  return H5I_INVALID_HID;
}

Type text_type(const std::string& who, size_t bytes) {
  Type type = ATTUNE_HDF5_OPEN(Type, who, H5Tcopy, H5T_C_S1);
  ATTUNE_HDF5(who, H5Tset_size, type, bytes);
  if (bytes != H5T_VARIABLE) ATTUNE_HDF5(who, H5Tset_strpad, type, H5T_STR_NULLPAD);
  ATTUNE_HDF5(who, H5Tset_cset, type, H5T_CSET_UTF8);
  return type;
}

}  // namespace attune::hdf5
