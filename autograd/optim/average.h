#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autograd/optim/optimizer.h"

namespace attune {

/// Exponential moving average of the parameters (Polyak and Juditsky, 1992), free of the bias towards the start: after
/// n updates it is the mean of the n values with weights decay^(n - i), which sum to 1. decay 1 is their plain mean
/// (stochastic weight averaging, Izmailov et al., 2018).
class WeightAverage {
 public:
  /// Throws ValueError unless 0 <= decay <= 1.
  explicit WeightAverage(const ParameterList& parameters, double decay = 0.999);

  /// Takes in the parameters as they are now; after every optimizer step.
  void update();
  /// Number of updates.
  int64_t updates() const { return updates_; }

  /// Exchanges the parameters with the average, and back when called again. Throws ValueError before the first update.
  void swap();
  /// Whether the parameters hold the average.
  bool swapped() const { return swapped_; }

  /// "updates" (int64) and the average under the name of each parameter, memory shared. Throws ValueError while
  /// swapped.
  NamedTensors state() const;
  /// Throws ShapeError listing everything that does not fit.
  void load_state(const NamedTensors& state);

 private:
  struct Entry {
    std::string name;
    LeafRef leaf;
    Tensor average;
  };

  void require_not_swapped(const char* what) const;

  double decay_;
  int64_t updates_ = 0;
  bool swapped_ = false;
  std::vector<Entry> entries_;
};

/// While it lives, the parameters hold the average: for an evaluation.
class UseAverage {
 public:
  explicit UseAverage(WeightAverage& average) : average_(average) { average_.swap(); }
  ~UseAverage() { average_.swap(); }
  UseAverage(const UseAverage&) = delete;
  UseAverage& operator=(const UseAverage&) = delete;

 private:
  WeightAverage& average_;
};

}  // namespace attune
