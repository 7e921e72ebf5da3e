#pragma once

#include <cmath>
#include <compare>
#include <type_traits>

// Before functions that CUDA devices call as well. Those that are constexpr they may call as they are.
#ifdef __CUDACC__
#define ATTUNE_EVERYWHERE __host__ __device__
#else
#define ATTUNE_EVERYWHERE
#endif

namespace attune {

/// A number with its derivative in one direction: a + b e with e^2 = 0 (Clifford, 1873). A formula written for any
/// number type, evaluated at Dual{x, 1}, gives its value and its derivative at once.
template <class T>
struct Dual {
  T value = 0;
  T slope = 0;

  constexpr Dual() = default;
  /// A constant. Arithmetic with any number type stays in T.
  template <class N>
    requires std::is_arithmetic_v<N>
  // NOLINTNEXTLINE(google-explicit-constructor): constants of a formula stand as they are
  constexpr Dual(N constant) : value(static_cast<T>(constant)) {}
  constexpr Dual(T x, T dx) : value(x), slope(dx) {}

  friend constexpr Dual operator-(Dual a) { return {-a.value, -a.slope}; }
  friend constexpr Dual operator+(Dual a, Dual b) { return {a.value + b.value, a.slope + b.slope}; }
  friend constexpr Dual operator-(Dual a, Dual b) { return {a.value - b.value, a.slope - b.slope}; }
  friend constexpr Dual operator*(Dual a, Dual b) { return {a.value * b.value, a.slope * b.value + a.value * b.slope}; }
  friend constexpr Dual operator/(Dual a, Dual b) {
    const T ratio = a.value / b.value;
    return {ratio, (a.slope - ratio * b.slope) / b.value};
  }
  constexpr Dual& operator+=(Dual b) { return *this = *this + b; }
  constexpr Dual& operator-=(Dual b) { return *this = *this - b; }
  constexpr Dual& operator*=(Dual b) { return *this = *this * b; }
  constexpr Dual& operator/=(Dual b) { return *this = *this / b; }

  // Comparisons look at values: branches of a formula are taken as they are for numbers.
  friend constexpr bool operator==(Dual a, Dual b) { return a.value == b.value; }
  friend constexpr auto operator<=>(Dual a, Dual b) { return a.value <=> b.value; }

  // Found by argument: a formula says `using std::exp;` or calls exp(x) unqualified.
  ATTUNE_EVERYWHERE friend Dual exp(Dual x) {
    const T y = std::exp(x.value);
    return {y, y * x.slope};
  }
  ATTUNE_EVERYWHERE friend Dual log(Dual x) { return {std::log(x.value), x.slope / x.value}; }
  ATTUNE_EVERYWHERE friend Dual sqrt(Dual x) {
    const T y = std::sqrt(x.value);
    return {y, x.slope / (2 * y)};
  }
  ATTUNE_EVERYWHERE friend Dual tanh(Dual x) {
    const T y = std::tanh(x.value);
    return {y, (1 - y * y) * x.slope};
  }
  ATTUNE_EVERYWHERE friend Dual sin(Dual x) { return {std::sin(x.value), std::cos(x.value) * x.slope}; }
  ATTUNE_EVERYWHERE friend Dual cos(Dual x) { return {std::cos(x.value), -std::sin(x.value) * x.slope}; }
  ATTUNE_EVERYWHERE friend Dual abs(Dual x) { return x.value < 0 ? -x : x; }
  ATTUNE_EVERYWHERE friend Dual fmin(Dual a, Dual b) { return b.value < a.value ? b : a; }
  ATTUNE_EVERYWHERE friend Dual fmax(Dual a, Dual b) { return a.value < b.value ? b : a; }
};

}  // namespace attune
