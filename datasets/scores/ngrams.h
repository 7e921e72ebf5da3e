#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace attune::scores {

/// A text cut into units, words or characters, of which n in a row are an n-gram.
class Units {
 public:
  /// Words, which hold no spaces.
  template <class Words>
  static Units words(const Words& words) {
    Units units;
    for (const auto& word : words) {
      if (!units.text_.empty()) units.text_ += ' ';
      const size_t begin = units.text_.size();
      units.text_ += word;
      units.places_.emplace_back(begin, units.text_.size());
    }
    return units;
  }
  /// The code points of well-formed UTF-8, white space left out unless it is asked for.
  static Units characters(std::string_view text, bool white_space = false);

  /// The units behind each other, words with a space between.
  const std::string& text() const { return text_; }
  int64_t size() const { return static_cast<int64_t>(places_.size()); }

  using Counts = std::unordered_map<std::string_view, int64_t>;
  /// How often each n-gram occurs; valid as long as this.
  Counts ngrams(int n) const;

 private:
  std::string text_;
  std::vector<std::pair<size_t, size_t>> places_;  // begin and end of each unit in text_
};

struct Matches {
  int64_t matches = 0;
  int64_t total = 0;
};

/// The hypothesis' n-grams, and how many of them a reference has, each at most as often as the reference that has it
/// most (Papineni et al., 2002, section 2.1).
Matches clipped_matches(const Units& hypothesis, std::span<const Units> references, int n);

}  // namespace attune::scores
