#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/encode_pairs.h"
#include "datasets/parallel_corpus.h"
#include "examples/translation/config.h"
#include "examples/translation/snapshot.h"

namespace attune::examples::translation {

/// Pairs to learn from and pairs to choose the best weights on.
struct Corpus {
  ParallelCorpus train;
  ParallelCorpus val;
};

/// The embedded grammar, or the splits train and val of the configuration's folder. Throws as read_parallel does.
Corpus load_corpus(const RunConfig& run);

/// Preparations of the configuration, and codecs learned from the sentences. Throws as train_codec does.
TextSides learn_sides(const Config& config, const ParallelCorpus& corpus);

/// What validation looks at.
struct Validation {
  SequencePairs pairs;
  std::vector<std::string> references;  ///< as they were read, in the order of the pairs
};

/// Everything that a run is made of, ready to train.
struct TrainingData {
  SequencePairs train;
  Validation val;
  std::string description;  ///< a few lines, without the end of the last
};

/// Throws as encode_pairs does. Sentences for validation are never left out, but cut where they are too long.
TrainingData encode(const Config& config, const TextSides& sides, const Corpus& corpus);

}  // namespace attune::examples::translation
