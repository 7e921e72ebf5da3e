#pragma once

#include <cstdint>
#include <vector>

#include "framework/tensor.h"

namespace attune {

/// Counts of (true class, predicted class) pairs, filled batch by batch, and the scores that follow from them. A score
/// without anything to divide by (precision of a class never predicted, say) is 0.
class ConfusionMatrix {
 public:
  /// Throws ValueError below 2 classes.
  explicit ConfusionMatrix(int64_t classes = 2);

  /// Throws ValueError for a class outside 0 ... classes() - 1.
  void add(int64_t label, int64_t predicted);
  /// labels, predicted: int64 [B]. Throws ShapeError when their shapes differ.
  void add(const Tensor& labels, const Tensor& predicted);
  void clear();

  int64_t classes() const { return classes_; }
  int64_t total() const;
  int64_t count(int64_t label, int64_t predicted) const;

  double accuracy() const;
  /// Of what was predicted as `positive`, the share that is.
  double precision(int64_t positive = 1) const;
  /// Of what is `positive`, the share that was predicted as such.
  double recall(int64_t positive = 1) const;
  /// Harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn).
  double f1(int64_t positive = 1) const;

 private:
  void check(int64_t label, const char* what) const;

  int64_t classes_;
  std::vector<int64_t> counts_;  // [classes_, classes_], true class first
};

/// Weighted mean of values that come one after the other, such as the loss over batches of different sizes.
class Mean {
 public:
  void add(double value, double weight = 1) {
    sum_ += value * weight;
    weight_ += weight;
  }
  /// 0 before anything was added.
  double value() const { return weight_ == 0 ? 0 : sum_ / weight_; }

 private:
  double sum_ = 0;
  double weight_ = 0;
};

}  // namespace attune
