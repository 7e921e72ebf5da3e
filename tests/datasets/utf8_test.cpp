#include "datasets/utf8.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

namespace attune {
namespace {

TEST_CASE("utf8: every code point survives, nothing else is well-formed", "[datasets][text]") {
  for (char32_t c = 0; c <= 0x110000; ++c) {
    std::string text;
    utf8::append(text, c);
    const bool valid = c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF);
    size_t i = 0;
    if ((utf8::find_invalid(text) == std::string::npos) != valid || (valid && utf8::decode(text, i) != c)) {
      FAIL("code point " << static_cast<uint32_t>(c));
    }
    // Every proper beginning is incomplete.
    for (size_t size = 1; size < text.size(); ++size) {
      if (utf8::find_invalid(text.substr(0, size)) != 0) FAIL("cut code point " << static_cast<uint32_t>(c));
    }
  }
}

TEST_CASE("utf8: lower case", "[datasets][text]") {
  CHECK(utf8::to_lower(std::string_view("ABC xyz 123 [\\]^_`{|}@")) == "abc xyz 123 [\\]^_`{|}@");
  CHECK(utf8::to_lower(std::string_view("ÀÉÎÖØÞ×ß÷ÿ ŸĀāŁłŽžŐ ẞẸ")) == "àéîöøþ×ß÷ÿ ÿāāłłžžő ßẹ");
  CHECK(utf8::to_lower(std::string_view("ΑΒΓΔΩ ΆΈΌΎΏ ς АБВЯ ЁЇ ёж ԱՖ 漢字")) == "αβγδω άέόύώ ς абвя ёї ёж աֆ 漢字");
  CHECK(utf8::to_lower(std::string_view("ΟΔΟΣ ΣΑΣ, Σ ΑΣΒ İI ＡＢ Ა 𐐀 Ꭰ")) ==
        "οδος σας, σ ασβ i̇i ａｂ ა 𐐨 ꭰ");
}

TEST_CASE("utf8: words as Python splits them", "[datasets][text]") {
  using Words = std::vector<std::string_view>;
  CHECK(utf8::split("") == Words{});
  CHECK(utf8::split(" \t\n ") == Words{});
  CHECK(utf8::split("a  bc\xC2\xA0\xE3\x80\x80"
                    "d\x1C"
                    "e\xC2\x85") == Words{"a", "bc", "d", "e"});
  // No white space for Python: zero-width space and byte-order mark.
  CHECK(utf8::split("a\xE2\x80\x8B"
                    "b\xEF\xBB\xBF") == Words{"a\xE2\x80\x8B"
                                              "b\xEF\xBB\xBF"});
}

TEST_CASE("utf8: blanks", "[datasets][text]") {
  CHECK(utf8::is_blank(""));
  CHECK(utf8::is_blank(" \t\r\n\xC2\xA0\xE2\x80\x8B\xE3\x80\x80\xEF\xBB\xBF"));
  CHECK(utf8::is_blank("\u00AD \u2060\u200D\uFE0F\u202A"));
  CHECK_FALSE(utf8::is_blank(" . "));
  CHECK_FALSE(utf8::is_blank("é"));
}

TEST_CASE("utf8: quoting for messages", "[datasets][text]") {
  CHECK(utf8::quoted("good film") == "'good film'");
  CHECK(utf8::quoted("a\tb\nc\x7F\xFF\xC2\x85") == "'a\\tb\\x0ac\\x7f\\xff\\xc2\\x85'");
  CHECK(utf8::quoted("éééé", 5) == "'éé...'");
  CHECK(utf8::quoted("éééé", 8) == "'éééé'");
}

}  // namespace
}  // namespace attune
