#include "datasets/unicode.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <string_view>

namespace attune {
namespace {

TEST_CASE("unicode: categories", "[datasets][text]") {
  for (char32_t c : std::u32string_view(U"aZéßωЯא漢かﬁª\u0345Ⅷ")) {
    INFO(static_cast<uint32_t>(c));
    CHECK(unicode::is_alphabetic(c));
  }
  for (char32_t c : std::u32string_view(U"09٣९０")) CHECK((unicode::is_digit(c) && unicode::is_number(c)));
  for (char32_t c : std::u32string_view(U"½²Ⅷ①")) CHECK((!unicode::is_digit(c) && unicode::is_number(c)));
  for (char32_t c : std::u32string_view(U"!\"#%&'()*,-./:;?@[\\]_{}¡«·»¿–—‘’“”…、。〈")) {
    INFO(static_cast<uint32_t>(c));
    CHECK(unicode::is_punctuation(c));
  }
  for (char32_t c : std::u32string_view(U"$+<=>^`|~¢£¨¬®°±´×÷€→∑☃😀")) {
    INFO(static_cast<uint32_t>(c));
    CHECK(unicode::is_symbol(c));
  }
  for (char32_t c : std::u32string_view(U" \n\u00A0\u200B\uFEFF\U0010FFFF\U000E0001")) {
    INFO(static_cast<uint32_t>(c));
    CHECK_FALSE((unicode::is_alphabetic(c) || unicode::is_number(c) || unicode::is_punctuation(c)));
    CHECK_FALSE(unicode::is_symbol(c));
  }
  for (char32_t c : std::u32string_view(U"azßéωя")) CHECK(unicode::is_lower(c));
  for (char32_t c : std::u32string_view(U"AZÉΩЯ漢1.")) CHECK_FALSE(unicode::is_lower(c));
}

TEST_CASE("unicode: as many code points of each kind as the standard has", "[datasets][text][release]") {
  int64_t alphabetic = 0;
  int64_t digits = 0;
  int64_t numbers = 0;
  int64_t punctuation = 0;
  int64_t symbols = 0;
  int64_t upper = 0;
  for (char32_t c = 0; c < 0x110000; ++c) {
    alphabetic += unicode::is_alphabetic(c);
    digits += unicode::is_digit(c);
    numbers += unicode::is_number(c);
    punctuation += unicode::is_punctuation(c);
    symbols += unicode::is_symbol(c);
    upper += unicode::to_lower(c) != c;
    if (unicode::is_punctuation(c) && (unicode::is_symbol(c) || unicode::is_number(c))) {
      FAIL("two categories: " << static_cast<uint32_t>(c));
    }
    if (unicode::to_lower(unicode::to_lower(c)) != unicode::to_lower(c)) {
      FAIL("lower case of lower case: " << static_cast<uint32_t>(c));
    }
  }
  CHECK(alphabetic == 160254);
  CHECK(digits == 770);
  CHECK(numbers == 2247);
  CHECK(punctuation == 860);
  CHECK(symbols == 8760);
  CHECK(upper == 1432);
}

TEST_CASE("unicode: what nobody sees", "[datasets][text]") {
  for (const char32_t c : {0xAD,   0x34F,  0x61C,  0x115F, 0x180E, 0x200B, 0x200C,  0x200D,  0x202A,  0x202E, 0x2060,
                           0x2066, 0x206F, 0xFE00, 0xFE0F, 0xFEFF, 0xFFF8, 0x1D173, 0xE0001, 0xE0100, 0xE0FFF}) {
    CHECK(unicode::is_default_ignorable(c));
  }
  for (const char32_t c : {0x20, 0x41, 0xAC, 0xAE, 0x200A, 0x2010, 0x2028, 0x202F, 0x2070, 0xFE10, 0xFFF9, 0xE1000}) {
    CHECK_FALSE(unicode::is_default_ignorable(c));
  }
}

}  // namespace
}  // namespace attune
