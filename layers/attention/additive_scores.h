#pragma once

#include "layers/attention/head_linear.h"
#include "layers/attention/score.h"

namespace attune {

struct AdditiveScoreOptions {
  /// g v / |v| in place of v, and a bias b inside tanh (the normalisation of Salimans and Kingma, 2016, eq. 2; as
  /// TensorFlow's BahdanauAttention(normalize=True)).
  bool normalised = false;
  bool bias = false;  ///< b without the normalisation
};

/// v tanh(W q + U k) (Bahdanau et al., 2015, appendix A.1.2), or g v / |v| tanh(W q + U k + b).
/// Parameters: w.weight [H, A, query], u.weight [H, A, key], v [H, A]; b [H, A], zero; normalised: g [H], 1 / sqrt(A).
class AdditiveScore : public Score {
 public:
  explicit AdditiveScore(ScoreSizes sizes, AdditiveScoreOptions options = {});

  // The parts of the score, for attentions that add to what stands inside tanh.

  /// W q (+ b): [B, T, H, query] -> [B, H, T, A]
  Variable queries(const Variable& q) const;
  /// v tanh(queries + keys): [B, H, T, A], [B, H, S, A] -> [B, H, T, S]
  Variable energy(const Variable& queries, const Variable& keys) const;

 protected:
  Variable prepare(const Variable& k) const override;
  Variable score(const Variable& q, const Variable& keys) const override;

 private:
  HeadLinear& w_;
  HeadLinear& u_;
  Variable v_;
  Variable b_;
  Variable g_;
};

/// v tanh(W [q; k]) (Luong et al., 2015, section 3.1: concat). With W = [W1 W2] it is v tanh(W1 q + W2 k), which is how
/// it is computed. Parameters: w.weight [H, A, query + key], v [H, A].
class ConcatScore : public Score {
 public:
  explicit ConcatScore(ScoreSizes sizes);

 protected:
  Variable prepare(const Variable& k) const override;
  Variable score(const Variable& q, const Variable& keys) const override;

 private:
  HeadLinear& w_;
  Variable v_;
};

/// weight sum(tanh(scale (q + k))), weight and scale learned numbers, as Keras' Attention(use_scale=True,
/// score_mode="concat"). Parameters: scale [H], weight [H], one.
class KerasConcatScore : public Score {
 public:
  /// Throws ValueError for different widths.
  explicit KerasConcatScore(ScoreSizes sizes);

 protected:
  Variable prepare(const Variable& k) const override;
  Variable score(const Variable& q, const Variable& keys) const override;

 private:
  Variable scale_;
  Variable weight_;
};

struct KerasAdditiveScoreOptions {
  bool use_scale = true;  ///< false: a scale of 1
};

/// sum(scale tanh(q + k)), as Keras' AdditiveAttention. Parameter: scale [H, K], Glorot's uniform.
class KerasAdditiveScore : public Score {
 public:
  /// Throws ValueError for different widths.
  explicit KerasAdditiveScore(ScoreSizes sizes, KerasAdditiveScoreOptions options = {});

 protected:
  Variable score(const Variable& q, const Variable& keys) const override;

 private:
  Variable scale_;
};

}  // namespace attune
