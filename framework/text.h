#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace attune {

/// UTF-8 without overlong forms, surrogates and NUL (RFC 3629).
bool is_utf8_text(std::string_view text);

/// Any bytes as part of an error message of one line: what is no UTF-8 and control characters are written as \n,
/// \t and \xNN, and what stands behind `max_bytes` becomes "...", never inside a code point.
std::string shown(std::string_view text, size_t max_bytes = 100);

/// What the system says of a value of errno: "No such file or directory".
std::string system_message(int error);

}  // namespace attune
