#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace attune::utf8 {

/// Offset of the first byte that is not well-formed UTF-8 (Unicode 15.0, table 3-7: no overlong forms, no surrogates,
/// nothing above U+10FFFF), or npos when there is none.
size_t find_invalid(std::string_view text);

/// Throws FormatError unless `text` is well-formed: "WHO: byte 4 ('\xc3') is not valid UTF-8, expected UTF-8 text".
void require_valid(std::string_view text, std::string_view who);

/// Reads the code point at byte `i` of well-formed text and moves `i` behind it.
char32_t decode(std::string_view text, size_t& i);

void append(std::string& text, char32_t c);

/// Spaces and line ends of every width, control characters, byte-order mark and zero-width space.
bool is_space(char32_t c);

/// What Python's str.isspace() says: the property White_Space and the ASCII separators; narrower than is_space().
bool is_white_space(char32_t c);

/// What stands between is_white_space() in well-formed text: Python's str.split(). Views into `text`.
std::vector<std::string_view> split(std::string_view text);

/// True when there is nothing to see in well-formed text: only is_space() and unicode::is_default_ignorable().
bool is_blank(std::string_view text);

/// Lower case of well-formed text in every script, as Python's str.lower() has it. A capital sigma becomes a final one
/// between a letter and none; Python also looks past marks that are no letters.
std::string to_lower(std::string_view text);

/// `text` for an error message of one line: in single quotes, bytes that do not print as \xNN, shortened behind
/// `max_bytes`, never inside a code point. Takes any bytes.
std::string quoted(std::string_view text, size_t max_bytes = 40);

}  // namespace attune::utf8
