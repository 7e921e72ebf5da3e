#include "datasets/scores/alignment.h"

#include <algorithm>
#include <set>

#include "framework/fail.h"

namespace attune {
namespace {

double share(int64_t part, int64_t whole) {
  return whole == 0 ? 1.0 : static_cast<double>(part) / static_cast<double>(whole);
}

int64_t words_in(std::span<const int64_t> tokens) {
  return tokens.empty() ? 0 : 1 + std::max<int64_t>(*std::max_element(tokens.begin(), tokens.end()), -1);
}

}  // namespace

void AlignmentScore::add(std::span<const AlignmentLink> sure, std::span<const AlignmentLink> possible,
                         std::span<const AlignmentLink> predicted) {
  const std::set<AlignmentLink> sure_links(sure.begin(), sure.end());
  std::set<AlignmentLink> possible_links(possible.begin(), possible.end());
  possible_links.insert(sure.begin(), sure.end());
  const std::set<AlignmentLink> links(predicted.begin(), predicted.end());
  for (const AlignmentLink& link : links) {
    in_sure_ += sure_links.contains(link) ? 1 : 0;
    in_possible_ += possible_links.contains(link) ? 1 : 0;
  }
  predicted_ += static_cast<int64_t>(links.size());
  sure_ += static_cast<int64_t>(sure_links.size());
}

double AlignmentScore::error_rate() const { return 1 - share(in_sure_ + in_possible_, predicted_ + sure_); }
double AlignmentScore::precision() const { return share(in_possible_, predicted_); }
double AlignmentScore::recall() const { return share(in_sure_, sure_); }

std::vector<AlignmentLink> links_of(const Tensor& weights, std::span<const int64_t> target_words,
                                    std::span<const int64_t> source_words) {
  const auto rows = static_cast<int64_t>(target_words.size());
  const auto columns = static_cast<int64_t>(source_words.size());
  require<ShapeError>(weights.rank() == 2 && weights.dim(0) == rows && weights.dim(1) == columns,
                      "links_of: weights are {}, expected [{}, {}] for the words of the tokens", weights.shape(), rows,
                      columns);
  const std::vector<float> w = weights.to_vector<float>();
  const int64_t targets = words_in(target_words);
  const int64_t sources = words_in(source_words);
  // [targets, sources], summed over the tokens of both: which of a row is the largest needs no mean.
  std::vector<double> sums(static_cast<size_t>(targets * sources));
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t s = 0; s < columns; ++s) {
      const int64_t target = target_words[static_cast<size_t>(t)];
      const int64_t source = source_words[static_cast<size_t>(s)];
      if (target < 0 || source < 0) continue;
      sums[static_cast<size_t>(target * sources + source)] +=
          static_cast<double>(w[static_cast<size_t>(t * columns + s)]);
    }
  }
  std::vector<AlignmentLink> links;
  for (int64_t target = 0; target < targets && sources > 0; ++target) {
    const auto row = sums.begin() + target * sources;
    const auto most = std::max_element(row, row + sources);
    if (*most > 0) links.push_back({target, most - row});
  }
  return links;
}

}  // namespace attune
