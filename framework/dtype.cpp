#include "framework/dtype.h"

#include "framework/fail.h"

namespace attune {

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kFloat64:
      return "float64";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kInt64:
      return "int64";
    case DType::kBool:
      return "bool";
    case DType::kInt32:
      return "int32";
    case DType::kUInt8:
      return "uint8";
  }
  return "unknown";
}

DType parse_dtype(std::string_view name) {
  for (DType dtype : kDTypes) {
    if (name == dtype_name(dtype)) return dtype;
  }
  fail<DTypeError>("dtype '{}' is unknown: expected float32, float64, bfloat16, int64, bool, int32 or uint8", name);
}

void fail_dtype(const char* who, DType dtype, const char* expected) {
  fail<DTypeError>("{}: dtype {} is not supported, expected {}", who, dtype_name(dtype), expected);
}

}  // namespace attune
