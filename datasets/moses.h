#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// Typographic variants become what keyboards have: quotes " and ', dashes - (with spaces around a long one), an
/// ellipsis three dots, guillemets ", every space a plain one, none twice, at the ends or before , : ; ! ? and none
/// inside brackets. After the rules of Moses' normalize-punctuation.perl that hold for every language.
/// Throws FormatError for text that is not UTF-8.
std::string normalize_punctuation(std::string_view text);

struct MosesOptions {
  /// Decides about apostrophes and abbreviations: "en", "de", "es", "fr", "it"; any other: apostrophes stand alone and
  /// only single letters are abbreviated.
  std::string language = "en";
  /// Hyphens between letters and digits become tokens of their own, @-@.
  bool split_hyphens = false;
};

/// Splits text into words and punctuation by the rules of Moses' tokenizer.perl (Koehn et al., 2007), which the scores
/// of many papers are computed on, and joins them again. Unicode's letters and numbers are told from punctuation;
/// commas stay within numbers; dots stay at the end of abbreviations (a list of common ones by language) and of words
/// with dots inside, and before words in lower case; apostrophes: isn 't (en), l' eau (fr, it), standing alone
/// otherwise. No escapes such as &apos; are made.
class MosesTokenizer {
 public:
  explicit MosesTokenizer(MosesOptions options = {}) : options_(std::move(options)) {}

  const MosesOptions& options() const { return options_; }

  /// Throws FormatError for text that is not UTF-8.
  std::vector<std::string> operator()(std::string_view text) const;

  /// The usual spacing: none before closing punctuation and clitics, none behind opening punctuation, quotes in turns,
  /// hyphens @-@ closed. Text that people wrote may come out otherwise than it was.
  std::string detokenize(std::span<const std::string> tokens) const;

 private:
  MosesOptions options_;
};

}  // namespace attune
