#pragma once

#include <cstdint>
#include <type_traits>

namespace attune {

/// A number beside a Tensor in arithmetic and comparisons: any arithmetic type of C++, of which it is kept whether it
/// is an integer. An integer beside int64 keeps int64; a fraction makes float32 of it, as in PyTorch.
class Scalar {
 public:
  template <class T>
    requires std::is_arithmetic_v<T>
  constexpr Scalar(T value)  // NOLINT: numbers convert
      : number_(static_cast<double>(value)),
        integer_(std::is_integral_v<T> ? static_cast<int64_t>(value) : 0),
        integral_(std::is_integral_v<T>) {}

  constexpr bool is_integral() const { return integral_; }
  constexpr double number() const { return number_; }
  /// Only when is_integral().
  constexpr int64_t integer() const { return integer_; }

 private:
  double number_;
  int64_t integer_;
  bool integral_;
};

}  // namespace attune
