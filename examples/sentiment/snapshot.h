#pragma once

#include <memory>
#include <string>

#include "datasets/vocabulary.h"
#include "examples/sentiment/config.h"
#include "examples/sentiment/model.h"
#include "framework/checkpoint.h"

namespace attune::examples {

/// A trained classifier, in evaluation mode.
struct Snapshot {
  Config config;
  Vocabulary vocabulary;
  std::unique_ptr<SentimentModel> model;
};

/// The words of a checkpoint of this program. Throws FormatError that begins with `path`.
Vocabulary vocabulary_of(const Checkpoint& checkpoint, const std::string& path);

/// Reads best.h5 or last.h5; of the latter the averaged weights, where the run keeps an average. Throws IoError and
/// FormatError that name the file.
Snapshot load_snapshot(const std::string& path);

}  // namespace attune::examples
