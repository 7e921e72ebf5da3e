#include "datasets/text_preparation.h"

#include <vector>

#include "datasets/utf8.h"

namespace attune {

std::string TextPreparation::operator()(std::string_view text) const {
  utf8::require_valid(text, "text");
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
