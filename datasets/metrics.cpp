#include "datasets/metrics.h"

#include <algorithm>
#include <numeric>

#include "framework/fail.h"

namespace attune {
namespace {

double ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

ConfusionMatrix::ConfusionMatrix(int64_t classes) : classes_(classes) {
  require<ValueError>(classes >= 2, "confusion matrix: {} classes given, expected at least 2", classes);
  counts_.resize(static_cast<size_t>(classes * classes));
}

void ConfusionMatrix::check(int64_t label, const char* what) const {
  require<ValueError>(label >= 0 && label < classes_, "confusion matrix: {} class is {}, expected 0 to {}", what, label,
                      classes_ - 1);
}

void ConfusionMatrix::add(int64_t label, int64_t predicted) {
  check(label, "true");
  check(predicted, "predicted");
  ++counts_[static_cast<size_t>(label * classes_ + predicted)];
}

void ConfusionMatrix::add(const Tensor& labels, const Tensor& predicted) {
  require<ShapeError>(labels.rank() == 1 && labels.shape() == predicted.shape(),
                      "confusion matrix: labels {} and predicted {}, expected both [B]", labels.shape(),
                      predicted.shape());
  const std::vector<int64_t> label_values = labels.to_vector<int64_t>();
  const std::vector<int64_t> predicted_values = predicted.to_vector<int64_t>();
  for (size_t i = 0; i < label_values.size(); ++i) add(label_values[i], predicted_values[i]);
}

void ConfusionMatrix::clear() { std::fill(counts_.begin(), counts_.end(), 0); }

int64_t ConfusionMatrix::total() const { return std::accumulate(counts_.begin(), counts_.end(), int64_t{0}); }

int64_t ConfusionMatrix::count(int64_t label, int64_t predicted) const {
  check(label, "true");
  check(predicted, "predicted");
  return counts_[static_cast<size_t>(label * classes_ + predicted)];
}

double ConfusionMatrix::accuracy() const {
  int64_t right = 0;
  for (int64_t c = 0; c < classes_; ++c) right += count(c, c);
  return ratio(right, total());
}

double ConfusionMatrix::precision(int64_t positive) const {
  int64_t predicted = 0;
  for (int64_t c = 0; c < classes_; ++c) predicted += count(c, positive);
  return ratio(count(positive, positive), predicted);
}

double ConfusionMatrix::recall(int64_t positive) const {
  int64_t real = 0;
  for (int64_t c = 0; c < classes_; ++c) real += count(positive, c);
  return ratio(count(positive, positive), real);
}

double ConfusionMatrix::f1(int64_t positive) const {
  int64_t predicted_or_real = 0;  // tp + fp + tp + fn
  for (int64_t c = 0; c < classes_; ++c) predicted_or_real += count(c, positive) + count(positive, c);
  return ratio(2 * count(positive, positive), predicted_or_real);
}

}  // namespace attune
