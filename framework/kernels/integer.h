#pragma once

#include <cstdint>

#include "framework/kernels/kernel.h"

namespace attune {

enum class IntegerOp : uint8_t { kAdd, kSub, kMul, kFloorDivide, kRemainder, kPow };

/// y = a <op> b, modulo 2^64. a, b: int64, broadcast to the shape of y, any strides; y: int64, any strides, may be an
/// operand of its own shape and strides. Division rounds down and the remainder has the sign of b; both are 0 for b =
/// 0, which the caller looks for where it can. A negative exponent gives 1 / a^-b rounded towards 0.
ATTUNE_KERNEL(integer, const Tensor& a, const Tensor& b, IntegerOp op, Tensor& y);

// The formulas. Constant expressions, so that CUDA kernels may call them.

namespace integers {

/// Unsigned arithmetic wraps around.
constexpr int64_t add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
constexpr int64_t sub(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}
constexpr int64_t mul(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
constexpr int64_t remainder(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return 0;  // INT64_MIN % -1 traps
  const int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
constexpr int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return sub(0, a);
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}
constexpr int64_t pow(int64_t a, int64_t b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
  int64_t power = 1;
  for (; b > 0; b /= 2, a = mul(a, a)) {
    if (b % 2 == 1) power = mul(power, a);
  }
  return power;
}

}  // namespace integers

}  // namespace attune
