#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace attune {

/// A 16-bit float with the exponent of float32: storage only, arithmetic happens in float32.
struct bfloat16 {
  uint16_t bits = 0;

  bfloat16() = default;
  /// Rounds to nearest even; NaN stays NaN.
  explicit bfloat16(float value) {
    const auto word = std::bit_cast<uint32_t>(value);
    if ((word & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<uint16_t>((word >> 16) | 0x40u);
    } else {
      bits = static_cast<uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
    }
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

/// Element type of a tensor. Tokens, lengths and labels are int64; masks are boolean (one byte each). int32 and uint8
/// are for files and pictures: they are stored, moved, compared and converted; arithmetic takes them after Tensor::to.
enum class DType : uint8_t { kFloat32, kFloat64, kBFloat16, kInt64, kBool, kInt32, kUInt8 };

inline constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat64, DType::kBFloat16, DType::kInt64,
                                    DType::kBool,    DType::kInt32,   DType::kUInt8};

template <class T>
inline constexpr DType kDTypeOf = [] {
  if constexpr (std::is_same_v<T, float>) {
    return DType::kFloat32;
  } else if constexpr (std::is_same_v<T, double>) {
    return DType::kFloat64;
  } else if constexpr (std::is_same_v<T, bfloat16>) {
    return DType::kBFloat16;
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return DType::kInt64;
  } else if constexpr (std::is_same_v<T, int32_t>) {
    return DType::kInt32;
  } else if constexpr (std::is_same_v<T, uint8_t>) {
    return DType::kUInt8;
  } else {
    static_assert(std::is_same_v<T, bool>, "not an element type of Attune");
    return DType::kBool;
  }
}();

constexpr size_t dtype_size(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kFloat64:
    case DType::kInt64:
      return 8;
    case DType::kBFloat16:
      return 2;
    case DType::kBool:
    case DType::kUInt8:
      return 1;
  }
  return 0;
}

constexpr bool is_floating(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat64 || dtype == DType::kBFloat16;
}

/// int64, int32 or uint8.
constexpr bool is_integer(DType dtype) {
  return dtype == DType::kInt64 || dtype == DType::kInt32 || dtype == DType::kUInt8;
}

/// What sums over elements of `dtype` are kept in: float32 for bfloat16, otherwise `dtype`.
constexpr DType accumulation_dtype(DType dtype) { return dtype == DType::kBFloat16 ? DType::kFloat32 : dtype; }

/// "float32", "float64", "bfloat16", "int64", "bool", "int32", "uint8"
const char* dtype_name(DType dtype);

/// The reverse of dtype_name. Throws DTypeError for anything else.
DType parse_dtype(std::string_view name);

/// Throws DTypeError: "<who>: dtype <dtype> is not supported, expected <expected>".
[[noreturn]] void fail_dtype(const char* who, DType dtype, const char* expected);

/// The one switch over floating types that kernels compute in: calls f(T{}) with T float or double. bfloat16 is storage
/// on the CPU: see ATTUNE_WIDE_KERNEL.
template <class F>
decltype(auto) visit_floating(DType dtype, const char* who, F&& f) {
  switch (dtype) {
    case DType::kFloat32:
      return f(float{});
    case DType::kFloat64:
      return f(double{});
    default:
      fail_dtype(who, dtype, "float32 or float64");
  }
}

/// Calls f(T{}) with the element type of any dtype.
template <class F>
decltype(auto) visit_any(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kFloat64:
      return f(double{});
    case DType::kBFloat16:
      return f(bfloat16{});
    case DType::kInt64:
      return f(int64_t{});
    case DType::kBool:
      return f(bool{});
    case DType::kInt32:
      return f(int32_t{});
    case DType::kUInt8:
      return f(uint8_t{});
    default:
      return f(float{});
  }
}

}  // namespace attune
