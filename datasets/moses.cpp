#include "datasets/moses.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "datasets/rewrite.h"
#include "datasets/unicode.h"
#include "datasets/utf8.h"

namespace attune {
namespace {

using namespace rewrite;
using unicode::is_alphabetic;
using unicode::is_number;

// Stands for a dot in a run of several while the other rules are at work; a private code point.
constexpr std::string_view kDot = "\xEE\x80\x80";
constexpr char32_t kDotCode = 0xE000;

/// Abbreviations of a language, between spaces.
std::string_view abbreviations(std::string_view language) {
  if (language == "en") {
    return " Adj Adm Adv Asst Bart Bldg Brig Bros Capt Cmdr Col Comdr Con Corp Cpl DR Dr Drs Ens Gen Gov Hon Hr Hosp "
           "Insp Lt MM MR MRS MS Maj Messrs Mlle Mme Mr Mrs Ms Msgr Op Ord Pfc Ph Prof Pvt Rep Reps Res Rev Rt Sen "
           "Sens "
           "Sfc Sgt Sr St Supt Surg v vs rev ";
  }
  if (language == "de") {
    return " Adj Adm Adv Asst Bart Bldg Brig Bros Capt Cmdr Col Comdr Con Corp Cpl DR Dr Ens Gen Gov Hon Hosp Insp Lt "
           "MM MR MRS MS Maj Messrs Mlle Mme Mr Mrs Ms Msgr Op Ord Pfc Ph Prof Pvt Rep Reps Res Rev Rt Sen Sens Sfc "
           "Sgt "
           "Sr St Supt Surg Mio Mrd bzw v vs usw d.h z.B u.a etc Mag ca Nr Art Str Hr Fr Frl Dipl Ing Abs evtl ggf "
           "inkl "
           "zzgl vgl Jh Jan Feb Apr Aug Sep Sept Okt Nov Dez ";
  }
  if (language == "fr") {
    return " MM Dr Mme Mlle Mgr St Ste adj adm adv art ass av bd bull c.-à-d cf chap coll cons cp dép dir éd env etc "
           "ex fasc fig inf janv juil lib mar max min nov oct op part pp réf sept suppl tél vol vs ";
  }
  if (language == "es" || language == "it") {
    return " Dr Dra Sr Sra Srta Srs D Da Ud Uds Vd Vds Prof Profa Ing Lic Av Avda Art art etc pág págs núm vol tel "
           "aprox "
           "Dott Sig Sigg sig dott avv ing prof ecc ";
  }
  return " ";
}

/// Those that keep their dot only before a number.
std::string_view numeric_abbreviations(std::string_view language) {
  return language == "en" ? " No Nos Art Nr pp " : " Nr Art No pp ";
}

bool is_listed(std::string_view word, std::string_view list) {
  return word.find(' ') == std::string_view::npos && list.find(" " + std::string(word) + " ") != std::string_view::npos;
}

bool is_abbreviation(std::string_view word, std::string_view language) {
  if (word.size() == 1 && word[0] >= 'A' && word[0] <= 'Z') return true;
  // German ordinals: am 3. Mai.
  const bool short_number =
      word.size() <= 2 && std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (language == "de" && short_number) return true;
  return is_listed(word, abbreviations(language));
}

char32_t first_of(std::string_view word) {
  size_t i = 0;
  return word.empty() ? 0 : utf8::decode(word, i);
}

bool has_letter(std::string_view word) {
  for (size_t i = 0; i < word.size();) {
    if (is_alphabetic(utf8::decode(word, i))) return true;
  }
  return false;
}

std::string split_commas(const std::string& text) {
  std::string out = split_pairs(text, "", " ", " ", [](char32_t a, char32_t b) { return !is_number(a) && b == ','; });
  return split_pairs(out, " ", " ", "", [](char32_t a, char32_t b) { return a == ',' && !is_number(b); });
}

std::string split_apostrophes(std::string text, std::string_view language) {
  const bool before = language == "en";
  const bool behind = language == "fr" || language == "it";
  if (!before && !behind) return set_apart(text, [](char32_t c) { return c == '\''; });
  const auto between = [&](std::string_view to, auto&& match) { text = replace_between(text, '\'', to, match); };
  between(" ' ", [](char32_t a, char32_t b) { return !is_alphabetic(a) && !is_alphabetic(b); });
  between(" ' ",
          [&](char32_t a, char32_t b) { return !is_alphabetic(a) && is_alphabetic(b) && !(before && is_number(a)); });
  between(" ' ", [](char32_t a, char32_t b) { return is_alphabetic(a) && !is_alphabetic(b); });
  between(before ? " '" : "' ", [](char32_t a, char32_t b) { return is_alphabetic(a) && is_alphabetic(b); });
  if (before) between(" '", [](char32_t a, char32_t b) { return is_number(a) && b == 's'; });
  return text;
}

/// Two and more dots are one token.
std::string join_dots(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && text[end] == '.') ++end;
    if (end - i < 2) {
      out += text[i++];
      continue;
    }
    out += ' ';
    for (; i < end; ++i) out += kDot;
    out += ' ';
  }
  return out;
}

/// A word that ends in a dot, whose dot may belong to it.
void add_dotted(std::string_view word, std::string_view next, std::string_view language,
                std::vector<std::string>& tokens) {
  const std::string_view stem = word.substr(0, word.size() - 1);
  const char32_t next_letter = first_of(next);
  const bool numeric = is_listed(stem, numeric_abbreviations(language)) && next_letter >= '0' && next_letter <= '9';
  if ((stem.find('.') != std::string_view::npos && has_letter(stem)) || is_abbreviation(stem, language) ||
      unicode::is_lower(next_letter) || numeric) {
    tokens.emplace_back(word);
  } else {
    tokens.emplace_back(stem);
    tokens.emplace_back(".");
  }
}

/// Tokens of which a sentence's spacing depends.
enum class Side : uint8_t { kWord, kOpens, kCloses, kQuote };

template <size_t N>
bool all_of(std::string_view token, const std::array<char32_t, N>& marks) {
  for (size_t i = 0; i < token.size();) {
    if (std::find(marks.begin(), marks.end(), utf8::decode(token, i)) == marks.end()) return false;
  }
  return !token.empty();
}

Side side_of(std::string_view token) {
  static constexpr std::array<char32_t, 9> kOpening = {'(', '[', '{', '$', U'€', U'£', U'¥', U'¿', U'¡'};
  static constexpr std::array<char32_t, 10> kClosing = {',', '.', '?', '!', ':', ';', '%', '}', ']', ')'};
  static constexpr std::array<char32_t, 5> kQuotes = {'\'', '"', U'„', U'“', '`'};
  if (all_of(token, kOpening)) return Side::kOpens;
  if (all_of(token, kClosing)) return Side::kCloses;
  return all_of(token, kQuotes) ? Side::kQuote : Side::kWord;
}

/// 's, 'll (en): they join what stands before.
bool is_clitic(std::string_view token, std::string_view language) {
  return language == "en" && token.size() > 1 && token[0] == '\'' && is_alphabetic(first_of(token.substr(1)));
}

}  // namespace

std::string normalize_punctuation(std::string_view text) {
  utf8::require_valid(text, "normalize_punctuation");
  std::string plain;
  for (size_t i = 0; i < text.size();) {
    const size_t at = i;
    const char32_t c = utf8::decode(text, i);
    switch (c) {
      case U'„':
      case U'“':
      case U'”':
      case U'«':
      case U'»':
      case U'‟':
        plain += '"';
        break;
      case U'´':
      case U'‘':
      case U'’':
      case U'‚':
      case U'‛':
      case '`':
        plain += '\'';
        break;
      case U'–':
      case U'‐':
      case U'‑':
      case U'−':
        plain += '-';
        break;
      case U'—':
      case U'―':
        plain += " - ";
        break;
      case U'…':
        plain += "...";
        break;
      default:
        if (utf8::is_space(c)) {
          plain += ' ';
        } else {
          plain += text.substr(at, i - at);
        }
    }
  }
  replace_all(plain, "''", "\"");
  std::string out;
  for (std::string_view word : utf8::split(plain)) {
    const bool closes = std::string_view(",:;!?)]}").find(word.front()) != std::string_view::npos;
    const bool opened = !out.empty() && std::string_view("([{").find(out.back()) != std::string_view::npos;
    if (!out.empty() && !closes && !opened) out += ' ';
    out += word;
  }
  return out;
}

std::vector<std::string> MosesTokenizer::operator()(std::string_view text) const {
  utf8::require_valid(text, "moses");
  std::string line = " ";
  for (size_t i = 0; i < text.size();) {
    const size_t at = i;
    const char32_t c = utf8::decode(text, i);
    if (utf8::is_white_space(c)) {
      line += ' ';
    } else if (c >= 0x20 && c != kDotCode) {
      line += text.substr(at, i - at);
    }
  }
  line += ' ';
  line = set_apart(line, [](char32_t c) {
    return !is_alphabetic(c) && !is_number(c) && c != ' ' && c != '.' && c != '\'' && c != '`' && c != ',' && c != '-';
  });
  if (options_.split_hyphens) {
    const auto in_word = [](char32_t c) { return is_alphabetic(c) || is_number(c); };
    // Twice, since what follows a hyphen may stand before the next one.
    for (int pass = 0; pass < 2; ++pass) {
      line = replace_between(line, '-', " @-@ ", [&](char32_t a, char32_t b) { return in_word(a) && in_word(b); });
    }
  }
  line = split_apostrophes(split_commas(join_dots(line)), options_.language);

  std::vector<std::string> tokens;
  const std::vector<std::string_view> words = utf8::split(line);
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i].size() > 1 && words[i].ends_with('.')) {
      add_dotted(words[i], i + 1 < words.size() ? words[i + 1] : "", options_.language, tokens);
    } else {
      tokens.emplace_back(words[i]);
      replace_all(tokens.back(), kDot, ".");
    }
  }
  return tokens;
}

std::string MosesTokenizer::detokenize(std::span<const std::string> tokens) const {
  std::string text;
  bool space = false;
  int quotes = 0;
  for (const std::string& token : tokens) {
    const Side side = side_of(token);
    const bool quote = side == Side::kQuote;
    const bool possessive = token == "'" && options_.language == "en" && text.ends_with('s') && quotes % 2 == 0;
    const bool closing_quote = quote && quotes % 2 == 1;
    if (quote && !possessive) ++quotes;
    const bool hyphen = token == "@-@";
    const bool joins =
        side == Side::kCloses || possessive || closing_quote || hyphen || is_clitic(token, options_.language);
    if (space && !joins && !text.empty()) text += ' ';
    text += hyphen ? "-" : token;
    const bool elided =
        (options_.language == "fr" || options_.language == "it") && token.size() > 1 && token.back() == '\'';
    space = !(side == Side::kOpens || (quote && !possessive && !closing_quote) || hyphen || elided);
  }
  return text;
}

}  // namespace attune
