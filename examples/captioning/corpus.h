#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "datasets/captions.h"
#include "datasets/picture_store.h"
#include "datasets/scenes.h"

namespace attune::examples::captioning {

/// Pictures and what is said of them; picture i of one is picture i of the other.
struct PictureSet {
  std::vector<CaptionedPicture> captions;
  std::shared_ptr<const PictureStore> pictures;
  std::vector<Scene> scenes;  ///< of the embedded set: where the words' objects are
  std::string description;    ///< a line or two, without the end of the last
};

/// The embedded scenes in place of a folder.
PictureSet embedded_pictures(SceneSplit split, int64_t count, int64_t size);

/// A split of a folder, decoded. Throws as read_captions does, and FormatError, naming the first picture, when none of
/// them can be read.
PictureSet read_pictures(const std::string& folder, const std::string& split, const PictureStoreOptions& options);

/// A codec of whole words learned from the captions, lower case; words seen less often than min_count are unknown.
std::unique_ptr<TextCodec> learn_words(const std::vector<CaptionedPicture>& pictures, int64_t min_count);

}  // namespace attune::examples::captioning
