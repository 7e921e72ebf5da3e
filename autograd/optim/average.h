#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autograd/optim/optimizer.h"

namespace attune {

/// Other values for some parameters, a mean over a training, that can take their place.
class AveragedParameters {
 public:
  virtual ~AveragedParameters() = default;
  AveragedParameters(const AveragedParameters&) = delete;
  AveragedParameters& operator=(const AveragedParameters&) = delete;

  /// Exchanges the parameters with the average, and back when called again. Throws ValueError before there is any.
  void swap();
  /// Whether the parameters hold the average.
  bool swapped() const { return swapped_; }

 protected:
  struct Entry {
    std::string name;
    LeafRef leaf;
    Tensor average;
  };

  /// who: for messages.
  AveragedParameters(const char* who, const ParameterList& parameters);

  virtual bool empty() const = 0;
  void require_not_swapped(const char* what) const;

  const char* who_;
  bool swapped_ = false;
  std::vector<Entry> entries_;
};

/// While it lives, the parameters hold the average: for an evaluation.
class UseAverage {
 public:
  explicit UseAverage(AveragedParameters& average) : average_(average) { average_.swap(); }
  ~UseAverage() { average_.swap(); }
  UseAverage(const UseAverage&) = delete;
  UseAverage& operator=(const UseAverage&) = delete;

 private:
  AveragedParameters& average_;
};

/// Exponential moving average of the parameters (Polyak and Juditsky, 1992), free of the bias towards the start: after
/// n updates it is the mean of the n values with weights decay^(n - i), which sum to 1. decay 1 is their plain mean
/// (stochastic weight averaging, Izmailov et al., 2018).
class WeightAverage final : public AveragedParameters {
 public:
  /// Throws ValueError unless 0 <= decay <= 1.
  explicit WeightAverage(const ParameterList& parameters, double decay = 0.999);

  /// Takes in the parameters as they are now; after every optimizer step.
  void update();
  /// Number of updates.
  int64_t updates() const { return updates_; }

  /// "updates" (int64) and the average under the name of each parameter, memory shared. Throws ValueError while
  /// swapped.
  NamedTensors state() const;
  /// Throws ShapeError listing everything that does not fit.
  void load_state(const NamedTensors& state);

 private:
  bool empty() const override { return updates_ == 0; }

  double decay_;
  int64_t updates_ = 0;
};

enum class KeepCheckpoints : uint8_t { kLast, kBest };

struct CheckpointAverageOptions {
  int64_t count = 5;
  KeepCheckpoints keep = KeepCheckpoints::kLast;
};

/// Mean of the parameters at some moments of a training: the last ones (Vaswani et al., 2017, section 6.1) or those of
/// the highest scores. Holds a copy of the parameters for each.
class CheckpointAverage final : public AveragedParameters {
 public:
  /// Throws ValueError for a count below 1.
  explicit CheckpointAverage(const ParameterList& parameters, const CheckpointAverageOptions& options = {});

  /// Takes in the parameters as they are now, in place of the oldest or the worst once there are `count`. Of equal
  /// scores the one with the lower loss is better, and of equals in both the newer one is kept. False, and nothing has
  /// changed, when those kept are all better; kLast looks at neither. NaN is worse than any number.
  bool add(double score = 0, double loss = 0);
  /// Copies that the average is made of.
  int64_t size() const { return static_cast<int64_t>(kept_.size()); }

  /// "scores" and "losses" (float64 [size()]) and "<i>.<parameter>" for each copy, oldest first, memory shared. Throws
  /// ValueError while swapped.
  NamedTensors state() const;
  /// Throws ShapeError listing everything that does not fit, and for more than `count` copies. A state without "losses"
  /// is taken too: among equal scores its copies are given up first.
  void load_state(const NamedTensors& state);

 private:
  struct Kept {
    double score = 0;
    double loss = 0;
    std::vector<Tensor> values;  // as entries_
  };

  bool empty() const override { return kept_.empty(); }
  static bool better(const Kept& a, const Kept& b);
  Kept make_room();
  void average();

  CheckpointAverageOptions options_;
  std::vector<Kept> kept_;  // oldest first
};

}  // namespace attune
