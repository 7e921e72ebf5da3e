#include "datasets/utf8.h"

#include <cstdint>
#include <cstring>

#include "datasets/unicode.h"
#include "framework/fail.h"

namespace attune::utf8 {
namespace {

// Length of the well-formed sequence at the beginning of `text`, or 0.
size_t sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  const unsigned lead = byte(0);
  if (text.empty()) return 0;
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4 || !continues(1)) return 0;
  if (lead < 0xE0) return 2;
  if (!continues(2)) return 0;
  if (lead < 0xF0) {
    if (lead == 0xE0 && byte(1) < 0xA0) return 0;  // overlong
    if (lead == 0xED && byte(1) > 0x9F) return 0;  // surrogates
    return 3;
  }
  if (!continues(3)) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;  // overlong
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;  // above U+10FFFF
  return 4;
}

bool between(char32_t c, char32_t first, char32_t last) { return c >= first && c <= last; }

}  // namespace

size_t find_invalid(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    uint64_t word = 0;
    if (text.size() - i >= sizeof word) {
      std::memcpy(&word, text.data() + i, sizeof word);
      if ((word & 0x8080808080808080u) == 0) {
        i += sizeof word;
        continue;
      }
    }
    const size_t length = sequence_length(text.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return std::string_view::npos;
}

void require_valid(std::string_view text, std::string_view who) {
  const size_t invalid = find_invalid(text);
  if (invalid == std::string_view::npos) return;
  fail<FormatError>("{}: byte {} ({}) is not valid UTF-8, expected UTF-8 text", who, invalid + 1,
                    quoted(text.substr(invalid, 1)));
}

char32_t decode(std::string_view text, size_t& i) {
  const auto byte = [&](size_t at) { return static_cast<char32_t>(static_cast<unsigned char>(text[at])); };
  const char32_t lead = byte(i);
  if (lead < 0x80) {
    ++i;
    return lead;
  }
  const size_t more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  char32_t c = lead & (0x3Fu >> more);
  for (size_t k = 1; k <= more; ++k) c = (c << 6) | (byte(i + k) & 0x3Fu);
  i += more + 1;
  return c;
}

void append(std::string& text, char32_t c) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

bool is_space(char32_t c) {
  return c <= 0x20 || between(c, 0x7F, 0xA0) || c == 0x1680 || between(c, 0x2000, 0x200B) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x2060 || c == 0x3000 || c == 0xFEFF;
}

bool is_white_space(char32_t c) {
  return between(c, 0x9, 0xD) || between(c, 0x1C, 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         between(c, 0x2000, 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> words;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t at = i;
    if (!is_white_space(decode(text, i))) continue;
    if (at > begin) words.push_back(text.substr(begin, at - begin));
    begin = i;
  }
  if (begin < text.size()) words.push_back(text.substr(begin));
  return words;
}

bool is_blank(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const char32_t c = decode(text, i);
    if (!is_space(c) && !unicode::is_default_ignorable(c)) return false;
  }
  return true;
}

std::string to_lower(std::string_view text) {
  constexpr char32_t kCapitalSigma = 0x3A3;
  constexpr char32_t kFinalSigma = 0x3C2;
  constexpr char32_t kCapitalDottedI = 0x130;
  std::string lower;
  lower.reserve(text.size());
  bool after_letter = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = decode(text, i);
    if (c == kCapitalSigma && after_letter) {
      size_t next = i;
      const bool before_letter = i < text.size() && unicode::is_alphabetic(decode(text, next));
      append(lower, before_letter ? unicode::to_lower(c) : kFinalSigma);
    } else if (c == kCapitalDottedI) {
      lower += "i\xCC\x87";  // i and a combining dot
    } else {
      append(lower, c < 0x80 ? (between(c, 'A', 'Z') ? c + 32 : c) : unicode::to_lower(c));
    }
    after_letter = unicode::is_alphabetic(c);
  }
  return lower;
}

std::string quoted(std::string_view text, size_t max_bytes) {
  std::string out = "'";
  size_t i = 0;
  while (i < text.size()) {
    const size_t length = sequence_length(text.substr(i));
    if (i + (length == 0 ? 1 : length) > max_bytes) break;
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool control = byte < 0x20 || byte == 0x7F || (length == 2 && byte == 0xC2 && text[i + 1] < '\xA0');
    if (length == 0 || (control && length == 1)) {
      out += byte == '\t' ? "\\t" : fmt::format("\\x{:02x}", byte);
      ++i;
    } else if (control) {
      out += fmt::format("\\xc2\\x{:02x}", static_cast<unsigned char>(text[i + 1]));
      i += 2;
    } else {
      out.append(text, i, length);
      i += length;
    }
  }
  out += i < text.size() ? "...'" : "'";
  return out;
}

}  // namespace attune::utf8
