#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "datasets/picture_store.h"
#include "datasets/text_codec.h"
#include "examples/captioning/commands.h"
#include "examples/captioning/model.h"
#include "examples/captioning/snapshot.h"
#include "examples/support/evaluating.h"
#include "layers/decoding/search.h"

namespace attune::examples::captioning {

/// What it takes to write captions: of a snapshot, or of a run in the middle of its training. Nothing is owned.
struct CaptioningParts {
  CaptioningModel& model;
  const TextCodec& codec;
  int64_t max_length = 0;  ///< of a caption in tokens, <eos> included
};
CaptioningParts parts_of(const Snapshot& snapshot);

struct SearchSettings {
  int64_t beam = 1;           ///< 1: greedy
  int64_t best = 1;           ///< captions of each picture, at most `beam`
  double length_penalty = 1;  ///< alpha of LengthPenalty::kPower
  int64_t batch_rows = 256;   ///< pictures of a batch times hypotheses of each
};

SearchSettings search_settings(const SearchOptions& options);

/// What the search found for a picture.
struct Caption {
  std::string text;
  double score = 0;             ///< what captions are ordered by: log probability after the penalty
  double log_probability = 0;   ///< of all tokens
  std::vector<int64_t> tokens;  ///< without <eos>
};

/// Pictures of a store as a model reads them, float32 [P, H, W, 3]. Throws as PictureStore::at().
Tensor to_tensor(const PictureStore& pictures, std::span<const int64_t> numbers);

/// Writes captions with a model, whatever mode that is in; it is left in that mode.
class Captioner {
 public:
  /// Throws ValueError for settings out of range.
  explicit Captioner(const CaptioningParts& parts, const SearchSettings& settings = {});

  /// Of each of the pictures, float32 [P, H, W, 3], in this order, the best captions, best first.
  std::vector<std::vector<Caption>> operator()(const Tensor& pictures) const;
  /// The same of pictures of a store, by number. Throws ValueError for an unreadable one.
  std::vector<std::vector<Caption>> operator()(const PictureStore& pictures, std::span<const int64_t> numbers) const;

  /// Where the model looked while it wrote the tokens (without <eos>) of a caption about each of the pictures: float32
  /// [tokens, S] on the CPU, S regions of encoder().grid(), rows that sum to 1; of several heads their mean, of several
  /// layers the last. Undefined tensors for a decoder that does not look. Captions may be of any origin. Throws
  /// ShapeError for another number of them than of pictures.
  std::vector<Tensor> attention(const Tensor& pictures, std::span<const std::vector<int64_t>> captions) const;

  const CaptioningParts& parts() const { return parts_; }
  /// Pictures that are read together.
  int64_t batch() const { return std::max<int64_t>(1, settings_.batch_rows / settings_.beam); }

 private:
  std::vector<std::vector<Hypothesis>> search(const Tensor& pictures) const;

  CaptioningParts parts_;
  SearchSettings settings_;
};

}  // namespace attune::examples::captioning
