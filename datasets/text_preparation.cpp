#include "datasets/text_preparation.h"

#include <vector>

#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {

std::string TextPreparation::operator()(std::string_view text) const {
  if (const size_t invalid = utf8::find_invalid(text); invalid != std::string_view::npos) {
    fail<FormatError>("text: byte {} ({}) is not valid UTF-8, expected UTF-8 text", invalid + 1,
                      utf8::quoted(text.substr(invalid, 1)));
  }
  std::string prepared(text);
  if (options_.normalize) prepared = normalize_punctuation(prepared);
  if (options_.tokenize) {
    std::string joined;
    for (const std::string& token : tokenizer_(prepared)) joined.append(joined.empty() ? "" : " ").append(token);
    prepared = joined;
  }
  return options_.lower_case ? utf8::to_lower(prepared) : prepared;
}

std::string TextPreparation::restore(const std::string& text) const {
  if (!options_.tokenize) return text;
  const std::vector<std::string_view> words = utf8::split(text);
  return tokenizer_.detokenize(std::vector<std::string>(words.begin(), words.end()));
}

}  // namespace attune
