#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace attune {

struct WordTokenizerOptions {
  bool lower_case = true;
  /// false: words are what stands between spaces.
  bool split_punctuation = true;
};

/// Splits UTF-8 text into words and punctuation, close to the conventions of the Penn Treebank, so that raw text and
/// text that is tokenised already come out alike: "It isn't bad..." and "it is n't bad ..." give the same tokens, and
/// tokens joined by spaces give themselves again.
///
/// 1. Spaces of every width and control characters separate and disappear. Characters that nobody sees (soft hyphen,
///    word joiner, marks of direction, variation selectors: unicode::is_default_ignorable) disappear and do not
///    separate; zero-width joiners and non-joiners, which change letters, stay behind a letter or a mark.
/// 2. Typographic variants become ASCII: apostrophes and ` are ', double quotes as well as `` and '' are ", hyphens
///    are -, dashes are --, an ellipsis is three dots.
/// 3. Tokens of their own wherever they stand: , ; : ! ? ( ) [ ] { } < > " $ % # @ = + ~ ^ | \ and punctuation beyond
///    ASCII; runs of two and more dots (as ...), hyphens (as --) or * (as it is). A comma or colon between digits is
///    part of the number: 10,000.
/// 4. Part of the word inside it, split off at its ends: - / & _ ' and the dot: writer/director, o'hara, u.s. A dot
///    stays at the end of single letters (j., e.t. but not i.) and of mr., vs., etc. and their like, and before a digit
///    (.5); an apostrophe stays before digits ('70s) and in 'em, 'til, 'tis, 'twas, 'cause, 'n and 'n'. A dot between a
///    small and a capital letter ends a sentence that lacks its space (great.The).
/// 5. English clitics are tokens: n't, 's, 're, 've, 'll, 'd, 'm: can't is ca n't, won't is wo n't; cannot is can not.
/// 6. Lower case, if wanted, comes last (utf8::to_lower).
/// It takes time in proportion to the text, whatever that is.
class WordTokenizer {
 public:
  explicit WordTokenizer(WordTokenizerOptions options = {}) : options_(options) {}

  const WordTokenizerOptions& options() const { return options_; }

  /// Throws FormatError when `text` is not valid UTF-8.
  std::vector<std::string> operator()(std::string_view text) const;

 private:
  WordTokenizerOptions options_;
};

}  // namespace attune
