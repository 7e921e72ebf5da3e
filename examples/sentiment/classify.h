#pragma once

#include <string>
#include <vector>

#include "examples/sentiment/snapshot.h"
#include "examples/support/shading.h"
#include "layers/attention/page.h"

namespace attune::examples {

/// A word of the text as the model saw it.
/// Its attention is the share that it got; over a text they sum to 1.
struct ReadToken : ShadedToken {
  bool known = true;
};

struct Prediction {
  int64_t label = 0;
  double probability = 0;  ///< of that label
  bool truncated = false;  ///< the model saw only the beginning of the text
  std::vector<ReadToken> tokens;
  AttentionExample weights;  ///< of every layer, for attention_page()
};

/// "negative" or "positive".
const char* name_of(int64_t label);

/// Throws FormatError that begins with `origin` for a text that the model cannot take: one without words and, unless
/// the snapshot's text.truncate, one of too many.
///
/// A token's attention is what the pooled vector took from it through the last block: the weights of that block,
/// averaged over heads, from each position as much as the pooling takes from there; averaged over members.
Prediction classify(const Snapshot& snapshot, const std::string& text, const std::string& origin);

}  // namespace attune::examples
