#pragma once

#include <string>
#include <string_view>

#include "datasets/moses.h"

namespace attune {

struct TextPreparationOptions {
  bool normalize = false;   ///< normalize_punctuation()
  bool tokenize = false;    ///< MosesTokenizer's tokens, joined by spaces
  bool lower_case = false;  ///< every script's
  MosesOptions moses = {};
};

/// What happens to a sentence before a codec takes it, in the order of the options.
class TextPreparation {
 public:
  explicit TextPreparation(const TextPreparationOptions& options = {}) : options_(options), tokenizer_(options.moses) {}

  const TextPreparationOptions& options() const { return options_; }

  /// Throws FormatError for text that is not UTF-8.
  std::string operator()(std::string_view text) const;
  /// The spacing of people's text, where tokens were made; lower case and plain punctuation stay.
  std::string restore(const std::string& text) const;

 private:
  TextPreparationOptions options_;
  MosesTokenizer tokenizer_;
};

}  // namespace attune
