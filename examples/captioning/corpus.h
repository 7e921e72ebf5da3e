#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "datasets/captions.h"
#include "datasets/picture_store.h"
#include "datasets/scenes.h"
#include "examples/captioning/config.h"

namespace attune::examples::captioning {

/// Pictures and what is said of them; picture i of one is picture i of the other.
struct PictureSet {
  std::vector<CaptionedPicture> captions;
  std::shared_ptr<const PictureStore> pictures;
  std::vector<Scene> scenes;  ///< of the embedded set: where the words' objects are
  std::string description;    ///< a line or two, without the end of the last

  /// Numbers of the pictures that can be read, at most the first `most` of them; 0: all.
  std::vector<int64_t> readable(int64_t most = 0) const;
};

/// The embedded scenes in place of a folder.
PictureSet embedded_pictures(SceneSplit split, int64_t count, int64_t size);

/// A split of a folder, decoded. Throws as read_captions does, and FormatError, naming the first picture, when none of
/// them can be read.
PictureSet read_pictures(const std::string& folder, const std::string& split, const PictureStoreOptions& options);

/// A codec of whole words learned from the captions, lower case; words seen less often than min_count are unknown.
std::unique_ptr<TextCodec> learn_words(const std::vector<CaptionedPicture>& pictures, int64_t min_count);

/// Pictures to learn from and pictures to choose the best weights on.
struct Corpus {
  PictureSet train;
  PictureSet val;
};

/// The embedded scenes, or the splits train and dev of the configuration's folder. Throws as read_pictures does.
Corpus load_corpus(const RunConfig& run);

/// Everything that a run is made of, ready to train.
struct TrainingData {
  EncodedCaptions train;
  std::shared_ptr<const PictureStore> pictures;  ///< that `train` is about
  PictureSet val;
  EncodedCaptions val_captions;
  std::string description;  ///< a few lines, without the end of the last
};

/// Throws as encode_captions does. Captions for validation are never left out, but cut where they are too long.
TrainingData encode(const Config& config, const TextCodec& codec, Corpus corpus);

}  // namespace attune::examples::captioning
