#include "datasets/tokenizer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "datasets/unicode.h"
#include "datasets/utf8.h"

namespace attune {
namespace {

using Tokens = std::vector<std::string>;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

template <size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view w) { return equals_ignoring_case(word, w); });
}

constexpr std::array<std::string_view, 7> kClitics = {"n't", "'s", "'re", "'ve", "'ll", "'d", "'m"};

// Bytes of rule 3. Bytes of longer code points are none of them, so that splitting here never cuts a code point.
bool stands_alone(char c) { return std::string_view(",;:!?()[]{}<>\"$%#@=+~^|\\").find(c) != std::string_view::npos; }
// Bytes of rule 4.
bool is_edge(char c) { return std::string_view("-/&_'.").find(c) != std::string_view::npos; }

bool is_symbol(char32_t c) {
  return (c >= 0xA1 && c <= 0xBF && c != 0xAA && c != 0xB5 && c != 0xBA) || c == 0xD7 || c == 0xF7 ||
         (c >= 0x2016 && c <= 0x2BFF) || (c >= 0x2E00 && c <= 0x2E7F) || (c >= 0x3001 && c <= 0x303F) ||
         (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF01 && c <= 0xFF0F) || (c >= 0xFF1A && c <= 0xFF20) ||
         (c >= 0x1F000 && c <= 0x1FAFF);
}

// Zero-width space: it separates words although nobody sees it.
bool is_invisible(char32_t c) { return c != 0x200B && unicode::is_default_ignorable(c); }
bool is_joiner(char32_t c) { return c == 0x200C || c == 0x200D; }

// Rules 1 and 2, and the symbols beyond ASCII of rule 3: afterwards one space separates, and what is left to split is
// ASCII.
std::string simplify(std::string_view text, bool split_punctuation) {
  std::string out;
  out.reserve(text.size() + 16);
  bool behind_letter = false;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = utf8::decode(text, i);
    if (is_invisible(c)) {
      if (behind_letter && is_joiner(c)) out.append(text, begin, i - begin);
      continue;
    }
    behind_letter = false;
    if (utf8::is_space(c)) {
      out += ' ';
    } else if (!split_punctuation) {
      out.append(text, begin, i - begin);
      behind_letter = true;
    } else if (c == '\'' || c == '`' || c == 0xB4 || c == 0x2BC || (c >= 0x2018 && c <= 0x201B) || c == 0x2032) {
      // Two in a row are one double quote.
      if (out.ends_with('\'')) {
        out.back() = '"';
      } else {
        out += '\'';
      }
    } else if (c == 0xAB || c == 0xBB || (c >= 0x201C && c <= 0x201F) || c == 0x2033) {
      out += '"';
    } else if (c == 0x2010 || c == 0x2011) {
      out += '-';
    } else if ((c >= 0x2012 && c <= 0x2015) || c == 0x2212) {
      out += "--";
    } else if (c == 0x2026) {
      out += "...";
    } else if (is_symbol(c)) {
      out.append(" ").append(text, begin, i - begin).append(" ");
    } else {
      out.append(text, begin, i - begin);
      behind_letter = c >= 0x80 || is_letter(static_cast<char>(c)) || is_digit(static_cast<char>(c));
    }
  }
  return out;
}

// How many characters at the beginning are letters and dots in turns: 6 of j.r.r.tolkien.
size_t count_initials(std::string_view word) {
  size_t i = 0;
  while (i < word.size() && (i % 2 == 0 ? is_letter(word[i]) : word[i] == '.')) ++i;
  return i;
}

// initials: count_initials() of the word, or of a longer one that begins with it.
bool keeps_dot(std::string_view word, size_t initials) {
  static constexpr std::array<std::string_view, 27> kAbbreviations = {
      "mr.", "mrs.",  "ms.", "dr.",  "prof.", "jr.",  "sr.",  "st.",  "vs.",  "etc.",  "inc.", "co.",  "corp.", "ltd.",
      "al.", "bros.", "lt.", "sgt.", "capt.", "gen.", "sen.", "gov.", "rev.", "sept.", "oct.", "nov.", "dec."};
  if (is_one_of(word, kAbbreviations)) return true;
  if (equals_ignoring_case(word, "i.")) return false;
  return word.size() % 2 == 0 && word.size() <= initials;
}

bool keeps_apostrophe(std::string_view word) {
  static constexpr std::array<std::string_view, 7> kWords = {"'em", "'til", "'tis", "'twas", "'cause", "'n", "'n'"};
  return (word.size() > 1 && is_digit(word[1])) || is_one_of(word, kWords) || is_one_of(word, kClitics);
}

// What a word ends in that is a token of its own: its number of bytes, or 0. initials: as for keeps_dot().
size_t ending(std::string_view word, size_t initials) {
  if (word.back() == '.') return keeps_dot(word, initials) ? 0 : 1;
  if (is_edge(word.back())) return 1;
  for (std::string_view clitic : kClitics) {
    if (word.size() > clitic.size() && equals_ignoring_case(word.substr(word.size() - clitic.size()), clitic)) {
      return clitic.size();
    }
  }
  return 0;
}

// Rules 4 and 5 for a word that holds no byte of rule 3.
void split_word(std::string_view word, Tokens& tokens) {
  const size_t initials = count_initials(word);
  std::string_view rest = word;
  if (!equals_ignoring_case(rest, "'n'")) {
    while (!rest.empty() && ending(rest, initials) > 0) rest.remove_suffix(ending(rest, initials));
  }
  std::string_view endings = word.substr(rest.size());

  while (!rest.empty() && is_edge(rest.front())) {
    if (rest.front() == '.' && rest.size() > 1 && is_digit(rest[1])) break;
    if (rest.front() == '\'' && keeps_apostrophe(rest)) break;
    tokens.emplace_back(rest.substr(0, 1));
    rest.remove_prefix(1);
  }
  if (equals_ignoring_case(rest, "cannot")) {
    tokens.emplace_back(rest.substr(0, 3));
    rest.remove_prefix(3);
  }
  if (!rest.empty()) tokens.emplace_back(rest);

  const size_t first = tokens.size();
  while (!endings.empty()) {
    const size_t size = ending(word, initials);
    tokens.emplace_back(endings.substr(endings.size() - size));
    endings.remove_suffix(size);
    word.remove_suffix(size);
  }
  std::reverse(tokens.begin() + static_cast<std::ptrdiff_t>(first), tokens.end());
}

// Rule 3 for a piece without spaces.
void split_chunk(std::string_view chunk, Tokens& tokens) {
  size_t word = 0;
  size_t i = 0;
  const auto flush = [&] { split_word(chunk.substr(word, i - word), tokens); };
  while (i < chunk.size()) {
    const char c = chunk[i];
    const char before = i > 0 ? chunk[i - 1] : '\0';
    const char after = i + 1 < chunk.size() ? chunk[i + 1] : '\0';
    size_t run = 1;
    // Only these count in runs: looking for the end of each run of letters, at every letter, would be quadratic.
    if (c == '.' || c == '-' || c == '*') run = std::min(chunk.find_first_not_of(c, i), chunk.size()) - i;
    if ((c == '.' || c == '-') && run > 1) {
      flush();
      tokens.emplace_back(c == '.' ? "..." : "--");
    } else if (c == '*') {
      flush();
      tokens.emplace_back(chunk.substr(i, run));
    } else if (stands_alone(c) && !((c == ',' || c == ':') && is_digit(before) && is_digit(after))) {
      flush();
      tokens.emplace_back(chunk.substr(i, 1));
    } else if (c == '.' && before >= 'a' && before <= 'z' && after >= 'A' && after <= 'Z') {
      flush();
      tokens.emplace_back(".");
    } else {
      ++i;
      continue;
    }
    i += run;
    word = i;
  }
  flush();
}

}  // namespace

std::vector<std::string> WordTokenizer::operator()(std::string_view text) const {
  utf8::require_valid(text, "tokenizer");
  Tokens tokens;
  const std::string simple = simplify(text, options_.split_punctuation);
  const std::string_view rest = simple;
  for (size_t begin = 0; begin < rest.size();) {
    const size_t end = std::min(rest.find(' ', begin), rest.size());
    if (end > begin) {
      if (options_.split_punctuation) {
        split_chunk(rest.substr(begin, end - begin), tokens);
      } else {
        tokens.emplace_back(rest.substr(begin, end - begin));
      }
    }
    begin = end + 1;
  }
  if (options_.lower_case) {
    for (std::string& token : tokens) token = utf8::to_lower(token);
  }
  return tokens;
}

}  // namespace attune
