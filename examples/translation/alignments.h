#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "datasets/bilingual.h"
#include "datasets/scores/alignment.h"
#include "examples/translation/translator.h"
#include "layers/attention/page.h"

namespace attune::examples::translation {

/// What every attention of the model looks at while it reads `source` and writes `target`, for attention_page(). Tokens
/// are as an encoder and a loss take them: both end in <eos>. In maps of cross-attention a row is the token that is
/// being written; in maps of a decoder's self-attention the keys are the tokens before.
AttentionExample attention_example(const TranslationParts& parts, std::span<const int64_t> source,
                                   std::span<const int64_t> target);

/// How the cross-attention of one layer, mean over its heads, aligns words.
struct LayerAlignment {
  std::string layer;  ///< path in the model: "decoder.block1.cross"
  AlignmentScore score;
};

/// Every layer with cross-attention, in the order of the model; none where a decoder does not look. Each pair's own
/// target is written. A target word is aligned with the source word that is looked at most while it is written
/// (links_of()). Pairs whose words the preparation changes are left out.
std::vector<LayerAlignment> score_alignments(const TranslationParts& parts, std::span<const BilingualPair> pairs);

}  // namespace attune::examples::translation
