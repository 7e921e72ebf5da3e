#include "layers/attention/score.h"

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/attention/additive_scores.h"
#include "layers/attention/product_scores.h"

namespace attune {
namespace {

ScoreSizes completed(ScoreSizes sizes) {
  if (sizes.key == 0) sizes.key = sizes.query;
  if (sizes.hidden == 0) sizes.hidden = sizes.query;
  require<ValueError>(sizes.query > 0 && sizes.key > 0 && sizes.heads > 0 && sizes.hidden > 0,
                      "Score: widths of query {}, key {}, hidden {} and {} heads given, expected at least 1 each",
                      sizes.query, sizes.key, sizes.hidden, sizes.heads);
  return sizes;
}

/// [B, S, Hkv, K] -> [B, S, heads, K]
Variable repeat_heads(const Variable& k, int64_t heads) {
  const int64_t own = k.dim(2);
  if (own == heads) return k;
  const Shape wide{k.dim(0), k.dim(1), own, heads / own, k.dim(3)};
  return reshape(expand(reshape(k, {k.dim(0), k.dim(1), own, 1, k.dim(3)}), wide),
                 {k.dim(0), k.dim(1), heads, k.dim(3)});
}

}  // namespace

Score::Score(ScoreSizes sizes) : sizes_(completed(sizes)) {}

Variable Score::keys(const Variable& k) const {
  if (k.rank() != 4 || k.dim(3) != sizes_.key || k.dim(2) < 1 || sizes_.heads % k.dim(2) != 0) [[unlikely]] {
    fail<ShapeError>("{}: k is {}, expected [B, S, H, {}] with heads that divide {}", who("Score"), k.shape(),
                     sizes_.key, sizes_.heads);
  }
  return prepare(repeat_heads(k, sizes_.heads));
}

Variable Score::operator()(const Variable& q, const Variable& keys) const {
  if (q.rank() != 4 || q.dim(2) != sizes_.heads || q.dim(3) != sizes_.query) [[unlikely]] {
    fail<ShapeError>("{}: q is {}, expected [B, T, {}, {}]", who("Score"), q.shape(), sizes_.heads, sizes_.query);
  }
  return result(score(q, keys));
}

void Score::require_equal_widths(const char* who) const {
  require<ValueError>(sizes_.query == sizes_.key, "{}: width of query {} and key {} given, expected equal ones", who,
                      sizes_.query, sizes_.key);
}

Variable Score::prepare(const Variable& k) const { return permute(k, {0, 2, 1, 3}); }

std::unique_ptr<Score> make_score(ScoreKind kind, const ScoreSizes& sizes) {
  switch (kind) {
    case ScoreKind::kDot:
      return std::make_unique<DotScore>(sizes, DotScoreOptions{.scale = 1});
    case ScoreKind::kScaledDot:
      return std::make_unique<DotScore>(sizes);
    case ScoreKind::kGeneral:
      return std::make_unique<GeneralScore>(sizes);
    case ScoreKind::kConcat:
      return std::make_unique<ConcatScore>(sizes);
    case ScoreKind::kAdditive:
      return std::make_unique<AdditiveScore>(sizes);
    case ScoreKind::kNormedAdditive:
      return std::make_unique<AdditiveScore>(sizes, AdditiveScoreOptions{.normalised = true});
    case ScoreKind::kCosine:
      return std::make_unique<CosineScore>(sizes);
    case ScoreKind::kKerasDot:
      return std::make_unique<KerasDotScore>(sizes);
    case ScoreKind::kKerasConcat:
      return std::make_unique<KerasConcatScore>(sizes);
    case ScoreKind::kKerasAdditive:
      return std::make_unique<KerasAdditiveScore>(sizes);
  }
  fail<ValueError>("make_score: {} is no ScoreKind", static_cast<int>(kind));
}

}  // namespace attune
