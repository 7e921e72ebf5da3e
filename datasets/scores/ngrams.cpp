#include "datasets/scores/ngrams.h"

#include <algorithm>

#include "datasets/utf8.h"

namespace attune::scores {

Units Units::characters(std::string_view text, bool white_space) {
  Units units;
  for (size_t i = 0; i < text.size();) {
    const size_t at = i;
    if (utf8::is_white_space(utf8::decode(text, i)) && !white_space) continue;
    const size_t begin = units.text_.size();
    units.text_ += text.substr(at, i - at);
    units.places_.emplace_back(begin, units.text_.size());
  }
  return units;
}

Units::Counts Units::ngrams(int n) const {
  Counts counts;
  const auto length = static_cast<size_t>(n);
  for (size_t i = 0; i + length <= places_.size(); ++i) {
    const size_t begin = places_[i].first;
    ++counts[std::string_view(text_).substr(begin, places_[i + length - 1].second - begin)];
  }
  return counts;
}

Matches clipped_matches(const Units& hypothesis, std::span<const Units> references, int n) {
  Units::Counts most;
  for (const Units& reference : references) {
    for (const auto& [ngram, count] : reference.ngrams(n)) {
      int64_t& known = most[ngram];
      known = std::max(known, count);
    }
  }
  Matches matches;
  for (const auto& [ngram, count] : hypothesis.ngrams(n)) {
    matches.total += count;
    const auto found = most.find(ngram);
    if (found != most.end()) matches.matches += std::min(count, found->second);
  }
  return matches;
}

}  // namespace attune::scores
