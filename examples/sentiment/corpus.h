#pragma once

#include <cstdint>
#include <string>

#include "datasets/classification.h"
#include "datasets/loader.h"
#include "datasets/vocabulary.h"
#include "examples/sentiment/config.h"

namespace attune::examples {

/// Texts to learn from and texts to choose the best weights on.
struct Corpus {
  ClassificationData train;
  ClassificationData dev;
  std::string description;  ///< one line
};

/// The embedded reviews, or what the paths of the configuration hold; without a path for development a tenth of the
/// data, chosen by a hash of the text. Throws as read_classification does; both parts must have both classes.
Corpus load_corpus(const RunConfig& run);

/// What `eval` looks at: a path, or the test part of the embedded reviews when it is empty.
ClassificationData load_evaluation_data(const std::string& path);

WordTokenizer make_tokenizer(const TextConfig& config);
Vocabulary make_vocabulary(const TextConfig& config, const ClassificationData& data);
// What an error about a text that is too long says besides "shorten the text or".
inline constexpr const char* kTruncateSetting = "give --set text.truncate=true";
inline constexpr const char* kTruncateOption = "give --truncate";

EncodeOptions encode_options(const TextConfig& config, const char* remedy = kTruncateSetting);
/// Throws FormatError naming file and line of a text that is too long or has no words.
EncodedClassification encode(const TextConfig& config, const Vocabulary& vocabulary, const ClassificationData& data,
                             const char* remedy = kTruncateSetting);

/// Batches for an evaluation: always the same ones.
Loader evaluation_loader(LabelledSequences sequences);

}  // namespace attune::examples
