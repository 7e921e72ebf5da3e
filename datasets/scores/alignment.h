#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <vector>

#include "framework/tensor.h"

namespace attune {

/// A target word and a source word that belong together, counted from 0.
struct AlignmentLink {
  int64_t target = 0;
  int64_t source = 0;

  auto operator<=>(const AlignmentLink&) const = default;
};

/// How well predicted word alignments agree with known ones (Och and Ney, 2003, section 5.1): of the known links some
/// are sure (S) and all are possible (P, S among them); A are the predicted ones.
class AlignmentScore {
 public:
  /// Adds a sentence pair. Links given twice count once; `possible` needs not repeat the sure ones.
  void add(std::span<const AlignmentLink> sure, std::span<const AlignmentLink> possible,
           std::span<const AlignmentLink> predicted);
  /// The same where all known links are sure.
  void add(std::span<const AlignmentLink> known, std::span<const AlignmentLink> predicted) {
    add(known, {}, predicted);
  }

  /// 1 - (|A in S| + |A in P|) / (|A| + |S|): 0 is perfect. 0 where there are no links at all.
  double error_rate() const;
  /// |A in P| / |A|, and |A in S| / |S|; 1 where there is nothing to divide by.
  double precision() const;
  double recall() const;

 private:
  int64_t predicted_ = 0;
  int64_t sure_ = 0;
  int64_t in_sure_ = 0;
  int64_t in_possible_ = 0;
};

/// The links that attention weights [T, S] of one sentence pair stand for: each target word with the source word that
/// it looks at most; one that looks at nothing has none. A word gets what all its tokens get, and looks as the mean of
/// its tokens does.
///
/// target_words, source_words: to which word each of the T and S tokens belongs, from 0; -1: to none, such as </s>.
/// Throws ShapeError when their numbers do not fit the weights, DTypeError unless these are float32.
std::vector<AlignmentLink> links_of(const Tensor& weights, std::span<const int64_t> target_words,
                                    std::span<const int64_t> source_words);

}  // namespace attune
