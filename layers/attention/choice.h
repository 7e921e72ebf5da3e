#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "layers/attention/core.h"
#include "layers/attention/score.h"

namespace attune {

/// How weights are made of scores, or of what else.
enum class AttentionKind : uint8_t {
  kGlobal,
  kLocalM,
  kLocalP,
  kLocation,
  kLocationAware,
  kCoverage,
  kMonotonic,
  kSoftImage,
  kHardImage,
};

/// An attention as an option of a model: kind and score by name, sizes by the model.
///
///     AttentionChoice choice = attention_named("location-aware");
///     choice.sizes = {.query = decoder, .key = encoder, .hidden = 64};
///     attention_(own("attention", make_attention(choice)))
struct AttentionChoice {
  AttentionKind kind = AttentionKind::kGlobal;
  ScoreKind score = ScoreKind::kAdditive;  ///< of kGlobal, kLocalM, kLocalP, kMonotonic, kSoftImage and kHardImage
  ScoreSizes sizes{};
  double dropout = 0;      ///< of the weights, in training only
  int64_t window = 10;     ///< D of kLocalM and kLocalP
  int64_t max_keys = 256;  ///< of kLocation
};

/// "dot", "scaled-dot", "general", "concat", "additive", "normed-additive", "cosine", "keras-dot", "keras-concat",
/// "keras-additive", "local-m", "local-p", "location", "location-aware", "coverage", "monotonic", "soft-image",
/// "hard-image". local-m and local-p score by general, monotonic by normed-additive, images by additive, which may be
/// changed in the result. Throws ValueError listing the names for any other.
AttentionChoice attention_named(std::string_view name);
const std::vector<std::string>& attention_names();

/// Throws ValueError for sizes that do not fit the choice.
std::unique_ptr<AttentionCore> make_attention(const AttentionChoice& choice);

}  // namespace attune
