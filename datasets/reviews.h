#pragma once

#include <cstdint>
#include <vector>

#include "datasets/classification.h"

namespace attune {

enum class ReviewSplit : uint8_t { kTrain, kDev, kTest };

struct ReviewOptions {
  int64_t count = 16000;
  uint64_t seed = 0;
  ReviewSplit split = ReviewSplit::kTrain;
};

/// Short film reviews from a grammar, for demonstrations and tests without a file: "although the jokes were hardly
/// funny , i do n't think the plot was dull at all ." Lower case, tokenised like SST-2, 5 to 30 tokens, the labels
/// balanced (of every two successive reviews one is positive).
///
/// What decides is order and scope, not the words: negation ("not bad at all", "anything but dull", "nothing but a
/// mess", "i doubt that ..."), contrast (the clause after "but" decides, the one after "although" does not), comparison
/// ("more dull than funny"), other people's opinions, expectations, other films, what could have been. Choices that do
/// not carry the label are made independently of it, so that single words say next to nothing about it.
///
/// The same options give the same reviews on every machine, and a smaller count gives a prefix. Splits share no text,
/// for any seeds: a hash of the text says to which one it belongs (8 : 1 : 1).
///
/// Throws ValueError for a negative count.
std::vector<ClassificationExample> generate_reviews(const ReviewOptions& options);

}  // namespace attune
