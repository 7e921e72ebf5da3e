#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string_view>
#include <utility>

namespace attune::examples {

/// Writes a text at once. What cannot be written (a closed stream, a full disk, a reader that is gone) is dropped: no
/// work ends, and no exit status changes, for what people would have been told.
void write_or_drop(std::string_view text, std::FILE* out = stderr) noexcept;

/// A line on standard error, its end added; dropped where it cannot be written.
template <class... Args>
void notice(fmt::format_string<Args...> format, Args&&... args) {
  write_or_drop(fmt::format(format, std::forward<Args>(args)...) + '\n');
}

}  // namespace attune::examples
