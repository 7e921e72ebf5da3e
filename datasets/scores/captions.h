#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// Words of a caption.
using CaptionTokens = std::vector<std::string>;

/// A caption as the scores below take it: lower case, words apart as in the Penn Treebank, punctuation left out. Throws
/// FormatError for text that is not UTF-8.
CaptionTokens caption_tokens(std::string_view text);

// The scores of image captions against several references, as the coco-caption evaluation defines them (Chen et al.,
// "Microsoft COCO Captions", 2015). references[i]: those of hypothesis i, their numbers may differ. All throw
// ValueError for no hypotheses, another number of lists of references, and a hypothesis without references, by its
// number.

/// BLEU-1 to BLEU-4 of the corpus, 0 to 1: the reference length is that of the closest one, and nothing is smoothed.
std::array<double, 4> caption_bleu(std::span<const CaptionTokens> hypotheses,
                                   std::span<const std::vector<CaptionTokens>> references);

/// ROUGE-L (Lin, 2004): F score with beta 1.2 of the longest common subsequence, precision and recall each against the
/// reference that is best for it; mean over the captions, 0 to 1.
double rouge_l(std::span<const CaptionTokens> hypotheses, std::span<const std::vector<CaptionTokens>> references);

/// CIDEr-D (Vedantam et al., 2015, section 5, eq. 5): cosine of the vectors of n-grams weighted by how rare they are
/// among the references of all captions, clipped, with a Gaussian penalty (sigma 6) for another length; mean over n = 1
/// to 4, references and captions, times 10. Of one caption alone every n-gram weighs nothing: 0.
double cider_d(std::span<const CaptionTokens> hypotheses, std::span<const std::vector<CaptionTokens>> references);

}  // namespace attune
