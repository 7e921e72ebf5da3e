#include "layers/attention/product_scores.h"

#include <cmath>

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/attention/heads.h"
#include "layers/init.h"

namespace attune {
namespace {

/// q [B, T, H, K], keys [B, H, S, K] -> [B, H, T, S]
Variable products(const Variable& q, const Variable& keys) { return matmul(heads_first(q), keys, false, true); }

/// [H], to be multiplied with [B, H, T, S]
Variable over_heads(const Variable& x) { return reshape(x, {x.dim(0), 1, 1}); }

/// x / |x| along the last axis, and 0 for 0. What is added under the root is below rounding for vectors that are not
/// tiny, and keeps the derivative at 0 finite.
Variable unit(const Variable& x) { return x / sqrt(sum(square(x), {-1}, true) + 1e-12); }

}  // namespace

DotScore::DotScore(ScoreSizes sizes, DotScoreOptions options) : Score(sizes) {
  require_equal_widths("DotScore");
  scale_ = options.scale != 0 ? options.scale : 1 / std::sqrt(static_cast<double>(this->sizes().query));
}

Variable DotScore::score(const Variable& q, const Variable& keys) const { return products(q * scale_, keys); }

GeneralScore::GeneralScore(ScoreSizes sizes)
    : Score(sizes), w_(child<HeadLinear>("w", this->sizes().heads, this->sizes().key, this->sizes().query)) {}

Variable GeneralScore::prepare(const Variable& k) const { return w_(k); }
Variable GeneralScore::score(const Variable& q, const Variable& keys) const { return products(q, keys); }

CosineScore::CosineScore(ScoreSizes sizes, CosineScoreOptions options) : Score(sizes) {
  require_equal_widths("CosineScore");
  require<ValueError>(options.beta > 0, "CosineScore: beta {} given, expected a positive number", options.beta);
  log_beta_ = parameter("log_beta", init::constant({this->sizes().heads}, std::log(options.beta)));
}

Variable CosineScore::prepare(const Variable& k) const { return heads_first(unit(k)); }

Variable CosineScore::score(const Variable& q, const Variable& keys) const {
  return products(unit(q), keys) * parameter_for(q, over_heads(exp(log_beta_)));
}

KerasDotScore::KerasDotScore(ScoreSizes sizes) : Score(sizes) {
  require_equal_widths("KerasDotScore");
  scale_ = parameter("scale", init::ones({this->sizes().heads}));
}

Variable KerasDotScore::score(const Variable& q, const Variable& keys) const {
  return products(q, keys) * parameter_for(q, over_heads(scale_));
}

}  // namespace attune
