#pragma once

#include <string>
#include <vector>

#include "examples/captioning/config.h"

namespace attune::testing {

/// Makes models of a configuration as small as they can be, whatever their parts, for pictures of 32 x 32.
inline void shrink(examples::captioning::Config& config) {
  examples::captioning::ModelConfig& model = config.model;
  model.stem = 4;
  model.channels = 8;
  model.stages = 2;
  model.patch = 8;
  model.encoder_blocks = model.decoder_blocks = 1;
  model.dim = model.hidden = model.ffn_dim = 16;
  model.heads = 2;
  model.attention_hidden = 8;
  config.run.image_size = 32;
}

/// Command line of a training run that takes a moment; `settings` for --set, `more` comes last.
inline std::vector<std::string> small_caption_training(const std::string& out, const std::vector<std::string>& settings,
                                                       const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {"train", "--out", out, "--preset", "scenes", "--threads", "2"};
  for (const char* setting : {"training.epochs=2", "training.pictures=4", "training.captions_per_picture=2",
                              "model.stem=4", "model.channels=6", "model.patch=8", "model.dim=16", "model.hidden=16",
                              "model.heads=2", "model.ffn_dim=16", "model.encoder_blocks=1", "model.decoder_blocks=1",
                              "model.attention_hidden=8", "run.image_size=32", "run.scenes=12"}) {
    words.insert(words.end(), {"--set", setting});
  }
  for (const std::string& setting : settings) words.insert(words.end(), {"--set", setting});
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace attune::testing
