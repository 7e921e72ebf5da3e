#include "layers/attention/additive_scores.h"

#include <cmath>

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/attention/heads.h"
#include "layers/init.h"

namespace attune {
namespace {

/// A vector for every head, Glorot's uniform of a product A -> 1.
Tensor initial_vectors(int64_t heads, int64_t width) {
  const double bound = std::sqrt(6.0 / static_cast<double>(width + 1));
  return init::uniform({heads, width}, -bound, bound);
}

}  // namespace

AdditiveScore::AdditiveScore(ScoreSizes sizes, AdditiveScoreOptions options)
    : Score(sizes),
      w_(child<HeadLinear>("w", this->sizes().heads, this->sizes().query, this->sizes().hidden)),
      u_(child<HeadLinear>("u", this->sizes().heads, this->sizes().key, this->sizes().hidden)) {
  const int64_t heads = this->sizes().heads, hidden = this->sizes().hidden;
  v_ = parameter("v", initial_vectors(heads, hidden));
  if (options.bias || options.normalised) b_ = parameter("b", init::zeros({heads, hidden}));
  if (options.normalised) g_ = parameter("g", init::constant({heads}, 1 / std::sqrt(static_cast<double>(hidden))));
}

Variable AdditiveScore::queries(const Variable& q) const {
  const Variable projected = w_(q);
  return b_.defined() ? projected + parameter_for(q, reshape(b_, {b_.dim(0), 1, b_.dim(1)})) : projected;
}

Variable AdditiveScore::energy(const Variable& queries, const Variable& keys) const {
  if (!g_.defined()) return additive_scores(queries, keys, v_);
  const Variable length = sqrt(sum(square(v_), {-1}, true));  // [H, 1]
  return additive_scores(queries, keys, v_ * (reshape(g_, {g_.dim(0), 1}) / length));
}

Variable AdditiveScore::prepare(const Variable& k) const { return u_(k); }
Variable AdditiveScore::score(const Variable& q, const Variable& keys) const { return energy(queries(q), keys); }

ConcatScore::ConcatScore(ScoreSizes sizes)
    : Score(sizes),
      w_(child<HeadLinear>("w", this->sizes().heads, this->sizes().query + this->sizes().key, this->sizes().hidden)),
      v_(parameter("v", initial_vectors(this->sizes().heads, this->sizes().hidden))) {}

Variable ConcatScore::prepare(const Variable& k) const {
  return w_.part(k, sizes().hidden, sizes().query, sizes().query + sizes().key);
}

Variable ConcatScore::score(const Variable& q, const Variable& keys) const {
  return additive_scores(w_.part(q, sizes().hidden, 0, sizes().query), keys, v_);
}

KerasConcatScore::KerasConcatScore(ScoreSizes sizes) : Score(sizes) {
  require_equal_widths("KerasConcatScore");
  scale_ = parameter("scale", init::ones({this->sizes().heads}));
  weight_ = parameter("weight", init::ones({this->sizes().heads}));
}

Variable KerasConcatScore::prepare(const Variable& k) const {
  return heads_first(k) * parameter_for(k, reshape(scale_, {sizes().heads, 1, 1}));
}

Variable KerasConcatScore::score(const Variable& q, const Variable& keys) const {
  return additive_scores(heads_first(q) * parameter_for(q, reshape(scale_, {sizes().heads, 1, 1})), keys,
                         expand(reshape(weight_, {sizes().heads, 1}), {sizes().heads, sizes().key}));
}

KerasAdditiveScore::KerasAdditiveScore(ScoreSizes sizes, KerasAdditiveScoreOptions options) : Score(sizes) {
  require_equal_widths("KerasAdditiveScore");
  const int64_t heads = this->sizes().heads, width = this->sizes().key;
  scale_ = options.use_scale ? parameter("scale", initial_vectors(heads, width)) : constant(init::ones({heads, width}));
}

Variable KerasAdditiveScore::score(const Variable& q, const Variable& keys) const {
  return additive_scores(heads_first(q), keys, scale_);
}

}  // namespace attune
