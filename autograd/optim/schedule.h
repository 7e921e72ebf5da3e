#pragma once

#include <cstdint>

#include "autograd/optim/state.h"

namespace attune {

// Learning rates as functions of the number of steps made so far (0 for the first step):
//
//     optimizer.set_learning_rate(schedule.at(step));
//
// All but ReduceOnPlateau are pure functions: a run that goes on needs nothing but the step.

struct ConstantSchedule {
  double rate = 1e-3;

  double at(int64_t /*step*/) const { return rate; }
};

/// Rises linearly to `peak` over `warmup` steps, then falls with 1 / sqrt(step) (Vaswani et al., 2017, equation 3,
/// whose peak is 1 / sqrt(D warmup)).
struct InverseSquareRootSchedule {
  double peak = 1e-3;
  int64_t warmup = 4000;

  double at(int64_t step) const;
};

/// Rises linearly to `peak` over `warmup` steps, then falls to `final` at `total` along half a cosine (Loshchilov and
/// Hutter, 2017, equation 5, without restarts) and stays there.
struct CosineSchedule {
  double peak = 1e-3;
  double final = 0;
  int64_t warmup = 0;
  int64_t total = 1000;

  double at(int64_t step) const;
};

/// initial * factor^(step / every), the exponent rounded down. at() throws ValueError for every < 1.
struct StepSchedule {
  double initial = 1e-3;
  int64_t every = 1000;
  double factor = 0.1;

  double at(int64_t step) const;
};

struct PlateauOptions {
  double initial = 1e-3;
  double factor = 0.1;
  int64_t patience = 10;    ///< observations without progress before the rate falls
  int64_t cooldown = 0;     ///< observations after a fall that are not counted
  double threshold = 1e-4;  ///< progress is a change by more than this fraction of the best value
  double minimum = 0;       ///< the rate does not fall below it, and is never raised to it
  bool higher_is_better = false;
};

/// Multiplies the rate by `factor` when a metric has stopped improving; PyTorch's ReduceLROnPlateau.
class ReduceOnPlateau {
 public:
  explicit ReduceOnPlateau(const PlateauOptions& options = {});

  double at(int64_t /*step*/) const { return rate_; }
  /// Tells the metric, once per evaluation. NaN is no progress.
  void observe(double metric);

  NamedTensors state() const;
  void load_state(const NamedTensors& state);

 private:
  PlateauOptions options_;
  double rate_;
  double best_;
  int64_t waited_ = 0;
  int64_t cooling_ = 0;
};

}  // namespace attune
