#include "datasets/tokenizer.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
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
  const std::vector<std::string> pieces = {"a",  "B", "é",   "’",  "'",      "`",      ".", ",", "-",  "–",
                                           "…",  " ", "n't", "'s", "mr",     "10",     ":", "*", "\"", "“",
                                           "。", "𝔸", "😀",   "'n", "cannot", "\u2009", "/", "&"};
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
