#pragma once

#include <cstdint>

#include "layers/attention/core.h"

namespace attune {

/// Which projections are one (Wang et al., 2020, section 4): none, so that each head has its own E and F; those of all
/// heads ("headwise"); or E and F, too ("key-value").
enum class LinformerSharing : uint8_t { kNone, kHeads, kKeyValue };

struct LinformerOptions {
  int64_t keys = 512;       ///< n: the longest sequence
  int64_t projected = 128;  ///< what is left of it
  int64_t heads = 0;        ///< Hkv, with LinformerSharing::kNone
  LinformerSharing sharing = LinformerSharing::kHeads;
  double dropout = 0;  ///< of the weights over projected keys, in training only
};

/// Linformer (Wang et al., 2020, eq. 7): keys and values of S positions are projected to `projected` ones, between
/// which scaled dot-product attention chooses:
///
///     y = softmax(q (E k)^T / sqrt(K)) F v
///
/// A sequence of fewer than n keys takes the first columns of E and F. Masked keys are 0 in the sums, and a projected
/// key that draws on none of the others (0 in its row of E) does not exist. Since all positions flow into all projected
/// keys, masks must be the same for all queries: padding(...), and keep(...) of extents [B, H, 1, S]; others throw
/// ValueError. Weights, when asked for, are softmax(q (E k)^T / sqrt(K)) F, [B, H, T, S]: weights v is the output, but
/// rows do not sum to 1. Parameters: e and f, [projected, n], or [Hkv, projected, n] by head; without f when keys and
/// values share. Normal with stddev 1 / sqrt(projected).
class Linformer : public AttentionCore {
 public:
  /// Throws ValueError for extents below 1 and a dropout outside [0, 1).
  explicit Linformer(LinformerOptions options = {});

 protected:
  AttentionResult attend(const Variable& q, const Variable& k, const Variable& v, const LoweredMask& mask,
                         bool want_weights) override;

 private:
  LinformerOptions options_;
  Variable e_;
  Variable f_;
};

}  // namespace attune
