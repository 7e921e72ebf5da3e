#pragma once

// For .cpp files only: public headers stay free of fmt so that <attune.h> compiles fast.
#include <fmt/format.h>

#include <utility>

#include "framework/error.h"

namespace attune {

/// fail<ShapeError>("softmax: expected rank {}, got {}", 2, x.rank())
template <class E, class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw E(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws E unless `ok`. The message is formatted only on failure.
template <class E, class... Args>
void require(bool ok, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) [[unlikely]] {
    throw E(fmt::format(format, std::forward<Args>(args)...));
  }
}

}  // namespace attune

/// Types with to_string() print themselves: Shape, DType, Device, ... Only as "{}": what fmt can do with strings of its
/// own would lie in every object file.
template <class T>
  requires requires(const T& value) {
    { value.to_string() } -> std::convertible_to<std::string>;
  }
struct fmt::formatter<T> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  template <class Context>
  auto format(const T& value, Context& context) const {
    auto out = context.out();
    for (char c : value.to_string()) *out++ = c;
    return out;
  }
};
