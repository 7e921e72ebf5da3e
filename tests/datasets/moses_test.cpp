#include "datasets/moses.h"

#include <catch2/catch_test_macros.hpp>

#include <ctime>
#include <string>
#include <vector>

#include "framework/error.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

std::string tokens(const std::string& text, const MosesOptions& options = {}) {
  std::string joined;
  for (const std::string& token : MosesTokenizer(options)(text)) joined += (joined.empty() ? "" : " ") + token;
  return joined;
}

TEST_CASE("moses: tokens", "[datasets][text]") {
  CHECK(tokens("Hello, World! It isn't 3,000.5 (yet).") == "Hello , World ! It isn 't 3,000.5 ( yet ) .");
  CHECK(tokens("Mr. Smith of the U.S. saw No. 5. He left.") == "Mr. Smith of the U.S. saw No. 5 . He left .");
  CHECK(tokens("Wait... what?.. ok") == "Wait ... what ? .. ok");
  CHECK(tokens("a well-known dog -- yes") == "a well-known dog -- yes");
  CHECK(tokens("a well-known f-o-x", {.split_hyphens = true}) == "a well @-@ known f @-@ o @-@ x");
  CHECK(tokens("the dogs' 1990's 'em \"x\"") == "the dogs ' 1990 's ' em \" x \"");
  CHECK(tokens("l'eau d'un été", {.language = "fr"}) == "l' eau d' un été");
  CHECK(tokens("rock'n'roll", {.language = "de"}) == "rock ' n ' roll");
  CHECK(tokens("Am 3. Mai z.B. usw. Ende.", {.language = "de"}) == "Am 3. Mai z.B. usw. Ende .");
  CHECK(tokens("straße.Über 50% für €5, größer", {.language = "de"}) == "straße.Über 50 % für € 5 , größer");
  CHECK(tokens("word. next word. Next") == "word. next word . Next");
  CHECK(tokens("漢字。١٢٣,٤ a\tb\xC2\xA0"
               "c\x01") == "漢字 。 ١٢٣,٤ a b c");
  CHECK(tokens("&quot; [x]") == "& quot ; [ x ]");
  CHECK(tokens("") == "");
  CHECK(tokens(" . ") == ".");
  CHECK(testing::error_text<FormatError>([] { tokens("a\xff"); }) ==
        "moses: byte 2 ('\\xff') is not valid UTF-8, expected UTF-8 text");
}

TEST_CASE("moses: text from tokens", "[datasets][text]") {
  const auto text = [](const std::string& sentence, const MosesOptions& options = {}) {
    return MosesTokenizer(options).detokenize(MosesTokenizer(options)(sentence));
  };
  for (const char* sentence : {"A man, in a hat, isn't (really) 5.5% there.", "He said \"no way\" and left: why?",
                               "The dogs' owner's car cost $500!", "Wait... what?", "Mr. Smith of the U.S. slept."}) {
    CHECK(text(sentence) == sentence);
  }
  CHECK(text("l'eau d'un été", {.language = "fr"}) == "l'eau d'un été");
  CHECK(text("¿Qué?", {.language = "es"}) == "¿Qué?");
  CHECK(text("a well-known f-o-x", {.split_hyphens = true}) == "a well-known f-o-x");
  CHECK(MosesTokenizer().detokenize({}).empty());
}

TEST_CASE("moses: punctuation is made plain", "[datasets][text]") {
  CHECK(normalize_punctuation("„So“ – “it’s” … ‘ok’") == "\"So\" - \"it's\" ... 'ok'");
  CHECK(normalize_punctuation("« oui »") == "\" oui \"");
  CHECK(normalize_punctuation("a ,b ( c ) d\xC2\xA0!  ") == "a,b (c) d!");
  CHECK(normalize_punctuation("a—b ``x''") == "a - b \"x\"");
  CHECK(normalize_punctuation("").empty());
  CHECK(testing::error_text<FormatError>([] { normalize_punctuation("\xff"); }) ==
        "normalize_punctuation: byte 1 ('\\xff') is not valid UTF-8, expected UTF-8 text");
}

TEST_CASE("moses: time in proportion to the text", "[datasets][translation][release]") {
  for (const char* part : {"'", ".", "''", "a'", ",", "a-"}) {
    INFO(part);
    std::string text;
    while (text.size() < (size_t{1} << 20)) text += part;
    const std::clock_t begin = std::clock();
    CHECK_FALSE(MosesTokenizer({.split_hyphens = true})(normalize_punctuation(text)).empty());
    CHECK_FALSE(MosesTokenizer()(text).empty());
    CHECK(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < 10);  // minutes where it is quadratic
  }
}

}  // namespace
}  // namespace attune
