#pragma once

#include <cstdint>
#include <memory>

#include "layers/module.h"

namespace attune {

/// What a score function is made for.
struct ScoreSizes {
  int64_t query = 0;   ///< width of a query's head
  int64_t key = 0;     ///< width of a key's head; 0: as the query's
  int64_t heads = 1;   ///< H, of the queries; every head has parameters of its own
  int64_t hidden = 0;  ///< A, width of the layer inside additive scores; 0: as the query's
};

/// A score function: how well key s suits query t. What an attention makes weights of.
class Score : public Module {
 public:
  /// What the score reads of the keys, computed once for all queries: k [B, S, Hkv, K] -> [B, H, S, A]. Query head h
  /// reads key head h / (H / Hkv). Throws ShapeError naming the module.
  Variable keys(const Variable& k) const;
  /// q [B, T, H, K], keys as keys() gives them -> scores [B, H, T, S]. Throws ShapeError naming the module.
  Variable operator()(const Variable& q, const Variable& keys) const;

  const ScoreSizes& sizes() const { return sizes_; }

 protected:
  /// Completes the sizes. Throws ValueError for sizes below 1.
  explicit Score(ScoreSizes sizes);

  /// For scores of queries and keys of the same width: throws ValueError naming `who` for others.
  void require_equal_widths(const char* who) const;

  /// k [B, S, H, K] -> [B, H, S, A]; by itself, k with the heads in front.
  virtual Variable prepare(const Variable& k) const;
  virtual Variable score(const Variable& q, const Variable& keys) const = 0;

 private:
  ScoreSizes sizes_;
};

enum class ScoreKind : uint8_t {
  kDot,
  kScaledDot,
  kGeneral,
  kConcat,
  kAdditive,
  kNormedAdditive,
  kCosine,
  kKerasDot,
  kKerasConcat,
  kKerasAdditive,
};

/// The score function with its default options.
std::unique_ptr<Score> make_score(ScoreKind kind, const ScoreSizes& sizes);

}  // namespace attune
