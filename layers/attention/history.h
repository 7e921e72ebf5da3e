#pragma once

#include <cstdint>

#include "layers/attention/additive_scores.h"
#include "layers/attention/alignment.h"

namespace attune {

struct HistoryAttentionOptions {
  ScoreSizes sizes;
  double dropout = 0;  ///< of the weights, in training only
};

/// Additive attention that looks at what it attended to before: softmax over keys of v tanh(W q + U k + f + b), with
/// features f [B, H, S, A] of the weights of earlier queries; without such, the additive score with bias. Queries are
/// taken one after the other.
class HistoryAttention : public AlignmentCore {
 protected:
  explicit HistoryAttention(const HistoryAttentionOptions& options);

  /// carried [B, H, S] -> [B, H, S, A], to be added inside tanh.
  virtual Variable features(const Variable& carried) const = 0;
  /// What the next query sees: `carried` (undefined at the beginning) after a query with these weights [B, H, S].
  virtual Variable after(const Variable& carried, const Variable& weights) const = 0;

  Variable prepare_keys(const Variable& k) const override { return score_.keys(k); }
  Variable align(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                 const LoweredMask& mask) override;

  const ScoreSizes& sizes() const { return score_.sizes(); }

 private:
  AdditiveScore& score_;
};

struct LocationAwareOptions {
  ScoreSizes sizes;
  int64_t filters = 8;  ///< of the convolution
  int64_t width = 7;    ///< of a filter, odd: keys that it sees
  double dropout = 0;   ///< of the weights, in training only
};

/// softmax of v tanh(W q + U k + F f + b), f the previous query's weights convolved along the keys with learned
/// filters, zeros outside (Chorowski et al., 2015, eq. 8 and 9). The first query has previous weights 0. Parameters:
/// those of the additive score; filters [H, width, filters], features [H, A, filters].
class LocationAwareAttention : public HistoryAttention {
 public:
  /// Throws ValueError for a width that is even, and for sizes below 1.
  explicit LocationAwareAttention(const LocationAwareOptions& options);

 protected:
  Variable features(const Variable& carried) const override;
  Variable after(const Variable& carried, const Variable& weights) const override;

 private:
  Variable filters_;
  Variable features_;
};

/// softmax of v tanh(W q + U k + w c + b), c [B, H, S] the sum of all earlier queries' weights: the coverage (See et
/// al., 2017, eq. 10 and 11). Parameters: those of the additive score; w_coverage [H, A].
class CoverageAttention : public HistoryAttention {
 public:
  explicit CoverageAttention(const HistoryAttentionOptions& options);

 protected:
  Variable features(const Variable& carried) const override;
  Variable after(const Variable& carried, const Variable& weights) const override;

 private:
  Variable w_coverage_;
};

/// sum over keys of min(weights, coverage), coverage the sum of the weights of earlier queries (See et al., 2017, eq.
/// 12): weights [B, H, T, S] -> [B, H, T], to be averaged over the queries that count. Punishes attending to the same
/// key again.
Variable coverage_loss(const Variable& weights);

}  // namespace attune
