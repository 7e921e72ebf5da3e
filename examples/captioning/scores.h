#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "datasets/captions.h"
#include "datasets/metrics.h"
#include "datasets/scores/captions.h"
#include "examples/captioning/captioner.h"
#include "examples/captioning/corpus.h"

namespace attune::examples::captioning {

struct CaptionScores {
  std::array<double, 4> bleu{};  ///< BLEU-1 to BLEU-4, 0 to 1
  double cider = 0;              ///< CIDEr-D, 0 to 10
  double rouge_l = 0;            ///< 0 to 1
};

/// What people say of some pictures, to compare captions with.
class References {
 public:
  /// Of these pictures, by number. Throws FormatError for a caption that is not UTF-8.
  References(const std::vector<CaptionedPicture>& pictures, std::span<const int64_t> numbers);

  /// Captions of all pictures.
  int64_t size() const;
  /// captions[i] is about numbers[i]. Throws ValueError for another number of them.
  CaptionScores score(std::span<const std::string> captions) const;

 private:
  std::vector<std::vector<CaptionTokens>> references_;
};

/// How well attention finds what words speak of, mean over the words that speak of objects.
struct ObjectAttention {
  Mean inside;   ///< share of the attention that lies in the boxes of the word's objects
  Mean uniform;  ///< the same of attention that is equal everywhere
  int64_t words = 0;
};

/// The model writes the captions that the embedded scenes have, as far as it writes any. words 0: the decoder does not
/// look.
ObjectAttention attention_on_objects(const Captioner& captioner, const PictureSet& scenes);

}  // namespace attune::examples::captioning
