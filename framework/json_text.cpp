#include "framework/json_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>

#include "framework/fail.h"
#include "framework/text.h"

namespace attune {
namespace {

using nlohmann::json;

/// Where the text nests too deeply, or npos. Looks at brackets alone, so that nothing is taken for them.
size_t find_too_deep(std::string_view text) {
  size_t depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxJsonDepth) return i;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return std::string_view::npos;
}

/// Takes JSON and keeps nothing but where it ends to be JSON.
class Checker : public nlohmann::json_sax<json> {
 public:
  size_t position = 0;
  std::string number;  ///< one that no double holds

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t at, const std::string& token, const json::exception& error) override {
    position = at;
    constexpr int kNumberOverflow = 406;
    if (error.id == kNumberOverflow) number = token;
    return false;
  }
};

}  // namespace

void require_json(std::string_view text, const std::string& origin, std::string_view expected) {
  const auto line = [&](size_t at) {
    return 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(std::min(at, text.size())), '\n');
  };
  if (const size_t deep = find_too_deep(text); deep != std::string_view::npos) {
    fail<FormatError>("{}: line {}: lists and objects are nested deeper than {}, expected {}", origin, line(deep),
                      kMaxJsonDepth, expected);
  }
  Checker checker;
  if (json::sax_parse(text, &checker)) return;
  require<FormatError>(checker.number.empty(), "{}: line {}: the number {} is out of range", origin,
                       line(checker.position), shown(checker.number, 40));
  fail<FormatError>("{}: line {}: not JSON, expected {}", origin, line(checker.position), expected);
}

bool is_json(std::string_view text) {
  Checker checker;
  return find_too_deep(text) == std::string_view::npos && json::sax_parse(text, &checker);
}

}  // namespace attune
