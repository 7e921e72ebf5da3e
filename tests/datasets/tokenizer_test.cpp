#include "datasets/tokenizer.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "datasets/classification.h"
#include "datasets/utf8.h"
#include "framework/error.h"
#include "framework/random.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"

namespace attune {
namespace {

std::string joined(const std::vector<std::string>& tokens) {
  std::string text;
  for (const std::string& token : tokens) text += (text.empty() ? "" : " ") + token;
  return text;
}

std::string tokenized(std::string_view text) { return joined(WordTokenizer()(text)); }

TEST_CASE("tokenizer: the documented rules", "[datasets][tokenizer]") {
  struct Case {
    const char* text;
    const char* tokens;
  };
  const std::vector<Case> cases = {
      {"", ""},
      {" \t \xC2\xA0 \xE3\x80\x80 ", ""},
      {"It isn't bad...", "it is n't bad ..."},
      {"it is n't bad ...", "it is n't bad ..."},
      {"The plot was dull, but the acting saved it!", "the plot was dull , but the acting saved it !"},
      // Typographic variants.
      {"It’s “great” – really…", "it 's \" great \" -- really ..."},
      {"`` great '' and `fine'", "\" great \" and ' fine '"},
      {"«Amélie»—a CLICHÉ?", "\" amélie \" -- a cliché ?"},
      // Clitics.
      {"I can't, won't, don't, cannot.", "i ca n't , wo n't , do n't , can not ."},
      {"They're here; we've seen, he'd say, you'll like, I'm sure, she'd've",
       "they 're here ; we 've seen , he 'd say , you 'll like , i 'm sure , she 'd 've"},
      {"the actors' work, James's cat", "the actors ' work , james 's cat"},
      // Dots.
      {"Mr. Smith vs. Dr. No. E.T. is J.R.R. etc.", "mr. smith vs. dr. no . e.t. is j.r.r. etc."},
      {"so do I.", "so do i ."},
      {"bad....good ..", "bad ... good ..."},
      {"It was great.The end.", "it was great . the end ."},
      {"costs $1,000.50 (or .5) at 9:30, 3,4", "costs $ 1,000.50 ( or .5 ) at 9:30 , 3,4"},
      {"one,two:three", "one , two : three"},
      {"u.s. films.", "u.s. films ."},
      // Hyphens, slashes, apostrophes inside and at the ends.
      {"coming-of-age -- writer/director r&b o'hara -x- /y/",
       "coming-of-age -- writer/director r&b o'hara - x - / y /"},
      {"'70s rock 'n' roll, kick 'em 'til", "'70s rock 'n' roll , kick 'em 'til"},
      {"a---b", "a -- b"},
      // Punctuation of its own.
      {"(good)[or]{bad}<br/>", "( good ) [ or ] { bad } < br / >"},
      {"****1/2 ?!? 100%", "**** 1/2 ? ! ? 100 %"},
      {"¿qué? 日本。語", "¿ qué ? 日本 。 語"},
  };
  for (const Case& c : cases) {
    CHECK(tokenized(c.text) == c.tokens);
    CHECK(tokenized(c.tokens) == c.tokens);
  }
}

TEST_CASE("tokenizer: options", "[datasets][tokenizer]") {
  CHECK(joined(WordTokenizer({.lower_case = false})("It ISN'T Élan")) == "It IS N'T Élan");
  CHECK(joined(WordTokenizer({.split_punctuation = false})("It  isn't,\t“so” É.")) == "it isn't, “so” é.");
}

TEST_CASE("tokenizer: invalid UTF-8 is an error", "[datasets][tokenizer]") {
  CHECK(testing::error_text<FormatError>([] { WordTokenizer()("caf\xE9 au lait"); }) ==
        "tokenizer: byte 4 ('\\xe9') is not valid UTF-8, expected UTF-8 text");
}

TEST_CASE("tokenizer: never inside a code point, and tokens give themselves again", "[datasets][tokenizer]") {
  const std::vector<std::string> pieces = {
      "a", "B", "é",  "’", "'",      "`",      ".",      ",",      "-",  "–", "…", " ",  "n't",    "'s",     "mr", "10",
      ":", "*", "\"", "“", "\u200D", "\u00AD", "\uFEFF", "\u0D4D", "。", "𝔸", "😀", "'n", "cannot", "\u2009", "/",  "&"};
  RandomStream random(3);
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (uint64_t n = random.below(9); n > 0; --n) text += pieces[random.below(pieces.size())];
    const std::vector<std::string> tokens = WordTokenizer()(text);
    for (const std::string& token : tokens) {
      const bool clean = !token.empty() && utf8::find_invalid(token) == std::string::npos &&
                         token.find(' ') == std::string::npos && !utf8::is_blank(token);
      if (!clean) FAIL("from '" << text << "' came token '" << token << "'");
    }
    const std::string once = joined(tokens);
    if (tokenized(once) != once)
      FAIL("'" << text << "' gives '" << once << "', which gives '" << tokenized(once) << "'");
  }
}

TEST_CASE("tokenizer: what nobody sees is no token and splits no word", "[datasets][tokenizer]") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"soft\u00AD-hy\u00ADphen", "soft-hyphen"},
      {"word\u2060join\uFEFFer", "wordjoiner"},
      {"\uFEFFthe \u202Aleft\u202C \u2066to\u2069 \u200Fright\u200E", "the left to right"},
      {"\u00AD \u2060\t\uFE0F \U000E0061 \u180E \u3164 \uFFA0", ""},
      {"red\uFE0F \u2764\uFE0F, 1\uFE0F\u20E3", "red \u2764 , 1 \u20E3"},
      {"ca\u00ADn't do\u2060n\u00AD't", "ca n't do n't"},
      {"mr\u00AD. \u2061.\u20635 j\u200B.r.", "mr. .5 j . r ."},
      {"a\u200Bb", "a b"},
      // Joiners change the letters around them (Persian, Sinhala, Malayalam); nowhere else do they mean anything.
      {"\u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645", "\u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645"},
      {"\u0D28\u0D4D\u200D \u200D\u200C .\u200D", "\u0D28\u0D4D\u200D ."},
      {"\U0001F468\u200D\U0001F469\u200D\U0001F467", "\U0001F468 \U0001F469 \U0001F467"},
  };
  for (const auto& [text, tokens] : cases) {
    CHECK(tokenized(text) == tokens);
    CHECK(tokenized(tokens) == tokens);
  }
  CHECK(joined(WordTokenizer({.split_punctuation = false})("so\u00ADft \u2060 hy\u2060phen")) == "soft hyphen");
}

TEST_CASE("tokenizer: time in proportion to the text", "[datasets][tokenizer][release]") {
  const auto repeated = [](std::string_view part, size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += part;
    return text;
  };
  constexpr size_t kBytes = size_t{1} << 20;
  std::string initials = repeated("a.", kBytes / 2);
  initials += repeated("/.", kBytes / 2);
  for (const std::string& text :
       {repeated("a", kBytes), repeated("'", kBytes), repeated("a'", kBytes), repeated("'s", kBytes),
        repeated("n't", kBytes), repeated(".", kBytes), repeated("-", kBytes), repeated("*a", kBytes),
        repeated("a.", kBytes), repeated("\"", kBytes), repeated("_", kBytes), repeated("é", kBytes), initials,
        repeated("/.", kBytes), repeated("'n'", kBytes), repeated("``", kBytes)}) {
    INFO(text.substr(0, 8));
    const std::clock_t begin = std::clock();
    CHECK_FALSE(WordTokenizer()(text).empty());
    CHECK(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < 10);  // minutes where it is quadratic
  }
}

// What a person would have typed for a tokenised sentence.
std::string untokenized(std::string text) {
  const std::vector<std::pair<std::string_view, std::string_view>> rules = {
      {" n't", "n't"}, {" 's ", "'s "}, {" 're ", "'re "}, {" 've ", "'ve "},    {" 'll ", "'ll "}, {" 'd ", "'d "},
      {" 'm ", "'m "}, {" , ", ", "},   {" ; ", "; "},     {" : ", ": "},        {"( ", "("},       {" )", ")"},
      {"`` ", "“"},    {" ''", "”"},    {" ...", "..."},   {"can not", "cannot"}};
  for (const auto& [from, to] : rules) {
    for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
      text.replace(at, from.size(), to);
    }
  }
  for (std::string_view end : {" .", " !", " ?"}) {
    if (text.ends_with(end)) text.erase(text.size() - 2, 1);
  }
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 32);
  return text;
}

TEST_CASE("tokenizer: SST-2 stays as it is, and raw text comes out like it", "[datasets][tokenizer][data]") {
  const ClassificationData data = read_classification(testing::data_path("sst2/train.tsv"));
  int64_t tokens_before = 0;
  int64_t tokens_split = 0;
  int64_t raw_differs = 0;
  const WordTokenizer words({.split_punctuation = false});
  for (const ClassificationExample& example : data.examples) {
    std::vector<std::string> given = words(example.text);
    for (std::string& token : given) {
      if (token == "``" || token == "''") token = "\"";
      if (token == "`") token = "'";
    }
    const std::vector<std::string> tokens = WordTokenizer()(example.text);
    tokens_before += static_cast<int64_t>(given.size());
    tokens_split += static_cast<int64_t>(tokens.size()) - static_cast<int64_t>(given.size());
    const bool same = tokenized(untokenized(example.text)) == joined(tokens);
    raw_differs += same ? 0 : 1;
  }
  CHECK(tokens_split >= 0);
  CHECK(static_cast<double>(tokens_split) / static_cast<double>(tokens_before) < 0.0002);
  CHECK(static_cast<double>(raw_differs) / static_cast<double>(data.examples.size()) < 0.001);
}

}  // namespace
}  // namespace attune
