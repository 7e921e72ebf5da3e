#pragma once

#include <string>
#include <vector>

#include "examples/sentiment/snapshot.h"

namespace attune::examples {

/// A word of the text as the model saw it.
struct ReadToken {
  std::string text;
  bool known = true;
  double attention = 0;  ///< the share that it got; over a text they sum to 1
};

struct Prediction {
  int64_t label = 0;
  double probability = 0;  ///< of that label
  std::vector<ReadToken> tokens;
};

/// Throws FormatError that begins with `origin` for a text that the model cannot take.
///
/// A token's attention is what the pooled vector took from it through the last block: the weights of that block,
/// averaged over heads, from each position as much as the pooling takes from there; averaged over members.
Prediction classify(const Snapshot& snapshot, const std::string& text, const std::string& origin);

}  // namespace attune::examples
