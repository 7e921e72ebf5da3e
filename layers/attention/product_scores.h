#pragma once

#include "layers/attention/head_linear.h"
#include "layers/attention/score.h"

namespace attune {

struct DotScoreOptions {
  double scale = 0;  ///< 0: 1 / sqrt(K)
};

/// scale q k (Luong et al., 2015, section 3.1: dot, scale 1; Vaswani et al., 2017, eq. 1: 1 / sqrt(K)). Queries and
/// keys are equally wide.
class DotScore : public Score {
 public:
  /// Throws ValueError for different widths.
  explicit DotScore(ScoreSizes sizes, DotScoreOptions options = {});

 protected:
  Variable score(const Variable& q, const Variable& keys) const override;

 private:
  double scale_;
};

/// q W k (Luong et al., 2015, section 3.1: general). Parameter: w.weight [H, query, key].
class GeneralScore : public Score {
 public:
  explicit GeneralScore(ScoreSizes sizes);

 protected:
  Variable prepare(const Variable& k) const override;
  Variable score(const Variable& q, const Variable& keys) const override;

 private:
  HeadLinear& w_;
};

struct CosineScoreOptions {
  double beta = 1;  ///< at the beginning
};

/// beta q k / (|q| |k|), beta > 0 learned (Graves et al., "Neural Turing Machines", 2014, eq. 5 and 6). A vector of
/// zeros has the cosine 0 with all. Parameter: log_beta [H].
class CosineScore : public Score {
 public:
  /// Throws ValueError for different widths and a beta not above 0.
  explicit CosineScore(ScoreSizes sizes, CosineScoreOptions options = {});

 protected:
  Variable prepare(const Variable& k) const override;
  Variable score(const Variable& q, const Variable& keys) const override;

 private:
  Variable log_beta_;
};

/// scale q k with a learned scale, as Keras' Attention(use_scale=True, score_mode="dot"): no 1 / sqrt(K). Parameter:
/// scale [H], one.
class KerasDotScore : public Score {
 public:
  /// Throws ValueError for different widths.
  explicit KerasDotScore(ScoreSizes sizes);

 protected:
  Variable score(const Variable& q, const Variable& keys) const override;

 private:
  Variable scale_;
};

}  // namespace attune
