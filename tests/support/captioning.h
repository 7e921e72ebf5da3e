#pragma once

#include "examples/captioning/config.h"

namespace attune::testing {

/// Makes models of a configuration as small as they can be, whatever their parts, for pictures of 32 x 32.
inline void shrink(examples::captioning::Config& config) {
  examples::captioning::ModelConfig& model = config.model;
  model.stem = 4;
  model.channels = 6;
  model.stages = 2;
  model.patch = 8;
  model.encoder_blocks = model.decoder_blocks = 1;
  model.dim = model.hidden = model.ffn_dim = 16;
  model.heads = 2;
  model.attention_hidden = 8;
  config.run.image_size = 32;
}

}  // namespace attune::testing
