#pragma once

#include <memory>
#include <string>

#include "datasets/text_codec.h"
#include "datasets/text_preparation.h"
#include "examples/translation/config.h"
#include "examples/translation/model.h"
#include "framework/checkpoint.h"

namespace attune::examples::translation {

/// How one language's sentences are written as tokens. Of a joint vocabulary both languages have the same codec.
struct TextSide {
  TextPreparation preparation;
  std::shared_ptr<const TextCodec> codec;
};

struct TextSides {
  TextSide source;
  TextSide target;
};

/// Preparations of the configuration, without codecs.
TextSides preparations_of(const Config& config);
std::unique_ptr<TranslationModel> make_model(const Config& config, const TextSides& sides);

/// A trained model, in evaluation mode.
struct Snapshot {
  Config config;
  TextSide source;
  TextSide target;
  std::unique_ptr<TranslationModel> model;
};

/// The codecs of a checkpoint of this program. Throws FormatError that begins with `path`.
TextSides sides_of(const Checkpoint& checkpoint, const Config& config, const std::string& path);
/// The codecs' entries.
void put_sides(Checkpoint& checkpoint, const TextSides& sides);

/// Reads best.h5 or last.h5; of the latter the averaged weights, where the run keeps an average. Throws IoError and
/// FormatError that name the file.
Snapshot load_snapshot(const std::string& path);

}  // namespace attune::examples::translation
