#include "examples/captioning/controls.h"

#include <fmt/format.h>

#include <map>
#include <numeric>
#include <utility>

#include "datasets/scores/captions.h"
#include "framework/fail.h"
#include "framework/random.h"

namespace attune::examples::captioning {

FrequentCaption most_frequent_caption(const std::vector<CaptionedPicture>& pictures) {
  std::map<std::string, int64_t> counts;
  for (const CaptionedPicture& picture : pictures) {
    for (const std::string& caption : picture.captions)
      ++counts[fmt::format("{}", fmt::join(caption_tokens(caption), " "))];
  }
  require<ValueError>(!counts.empty(), "most frequent caption: no captions given, expected at least one");
  FrequentCaption most;
  for (const auto& [text, count] : counts) {
    if (count > most.count) most = {text, count};
  }
  return most;
}

std::vector<int64_t> derangement(int64_t count, uint64_t seed) {
  require<ValueError>(count >= 2, "derangement: {} numbers given, expected at least 2", count);
  std::vector<int64_t> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  RandomStream random(seed);
  for (size_t i = numbers.size() - 1; i > 0; --i) std::swap(numbers[i], numbers[random.below(i)]);
  return numbers;
}

}  // namespace attune::examples::captioning
