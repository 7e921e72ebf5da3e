#include "framework/text.h"

#include <cstdint>
#include <system_error>

#include "framework/fail.h"

namespace attune {
namespace {

/// Bytes of the code point that `text` begins with; 0 where there is none.
size_t code_point_bytes(std::string_view text) {
  const auto byte = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(0);
  const size_t bytes = lead < 0x80                   ? 1
                       : lead >= 0xC2 && lead < 0xE0 ? 2
                       : lead >= 0xE0 && lead < 0xF0 ? 3
                       : lead >= 0xF0 && lead < 0xF5 ? 4
                                                     : 0;
  if (bytes == 0 || bytes > text.size()) return 0;
  uint32_t point = bytes == 1 ? lead : lead & (0x7Fu >> bytes);
  for (size_t k = 1; k < bytes; ++k) {
    if ((byte(k) & 0xC0) != 0x80) return 0;
    point = (point << 6) | (byte(k) & 0x3Fu);
  }
  const bool overlong = (bytes == 3 && point < 0x800) || (bytes == 4 && point < 0x10000);
  const bool surrogate = point >= 0xD800 && point < 0xE000;
  return overlong || surrogate || point > 0x10FFFF ? 0 : bytes;
}

/// ASCII's and the ones behind them, which terminals obey too (U+0080 to U+009F).
bool is_control(std::string_view code_point) {
  const auto first = static_cast<unsigned char>(code_point[0]);
  return first < 0x20 || first == 0x7F || (first == 0xC2 && static_cast<unsigned char>(code_point[1]) < 0xA0);
}

}  // namespace

bool is_utf8_text(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t bytes = text[i] == '\0' ? 0 : code_point_bytes(text.substr(i));
    if (bytes == 0) return false;
    i += bytes;
  }
  return true;
}

std::string shown(std::string_view text, size_t max_bytes) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t found = code_point_bytes(text.substr(i));
    const std::string_view next = text.substr(i, found == 0 ? 1 : found);
    if (i + next.size() > max_bytes) return out + "...";
    if (next == "\n" || next == "\t") {
      out += next == "\n" ? "\\n" : "\\t";
    } else if (found == 0 || is_control(next)) {
      for (const char byte : next) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    } else {
      out += next;
    }
    i += next.size();
  }
  return out;
}

std::string system_message(int error) { return std::generic_category().message(error); }

}  // namespace attune
