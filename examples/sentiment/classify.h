#pragma once

#include <string>
#include <vector>

#include "examples/sentiment/snapshot.h"

namespace attune::examples {

/// A word of the text as the model saw it.
struct ReadToken {
  std::string text;
  bool known = true;
  double attention = 0;  ///< the share that the model's last look gave it; over a text they sum to 1
};

struct Prediction {
  int64_t label = 0;
  double probability = 0;  ///< of that label
  std::vector<ReadToken> tokens;
};

/// Throws FormatError that begins with `origin` for a text that the model cannot take.
///
/// A token's attention is the weight of attention pooling, averaged over heads and members; with other pooling that
/// of the last block, averaged over the positions that are pooled as well.
Prediction classify(const Snapshot& snapshot, const std::string& text, const std::string& origin);

}  // namespace attune::examples
