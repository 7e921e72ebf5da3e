#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/captions.h"

// What a model must beat to show that it looks at pictures.

namespace attune::examples::captioning {

struct FrequentCaption {
  std::string text;   ///< words as the scores take them, joined by spaces
  int64_t count = 0;  ///< how often it is said
};

/// What is said most often, word by word (caption_tokens()); the first in
/// alphabetical order of equals. Throws ValueError for no captions.
FrequentCaption most_frequent_caption(const std::vector<CaptionedPicture>& pictures);

/// Numbers 0 ... count - 1 in an order in which none stands at its own place: one cycle, drawn by Sattolo's algorithm
/// ("An algorithm to generate a random cyclic permutation", 1986). Throws ValueError for a count below 2.
std::vector<int64_t> derangement(int64_t count, uint64_t seed);

}  // namespace attune::examples::captioning
