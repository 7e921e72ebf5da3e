#pragma once

#include "layers/attention/scaled_dot_product.h"
#include "tests/golden/session.h"

namespace attune::golden {

/// How one of PyTorch's layers or functions is computed by Attune: reads options and inputs, hands in the outputs.
struct Layer {
  const char* name;
  void (*run)(Session& session, Options& options, AttentionPath path);
  bool has_paths;  ///< whether `path` makes a difference
};

/// nullptr for a layer that Attune does not have.
const Layer* find_layer(const std::string& name);

// One per file of this folder.
extern const std::vector<Layer> kBasicLayers;
extern const std::vector<Layer> kAttentionLayers;
extern const std::vector<Layer> kTransformerLayers;
extern const std::vector<Layer> kOptimizers;
extern const std::vector<Layer> kPictureLayers;
extern const std::vector<Layer> kRecurrentLayers;

}  // namespace attune::golden
