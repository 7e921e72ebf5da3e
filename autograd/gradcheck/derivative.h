#pragma once

#include <functional>
#include <limits>
#include <vector>

#include "autograd/gradcheck.h"

namespace attune::gradcheck_internal {

/// Weighted outputs for the inputs as they are at the moment of the call.
using Evaluate = std::function<void(std::vector<double>& weighted)>;

/// Moves what is varied to `h` away from where it stood at first (0: back) and returns how far it went.
using Move = std::function<double(double h)>;

/// How close is close enough: absolute + relative * max(|analytic|, |numeric|, size).
struct Tolerance {
  double absolute = 0;
  double relative = 0;
  double size = 0;

  double operator()(double analytic, double numeric) const;
};

/// What difference quotients say about an analytic derivative.
struct Finding {
  GradientVerdict verdict = GradientVerdict::kOk;
  double numeric = 0;
  double error = 0;  ///< of `numeric`, by its own estimate; at a kink the difference of the one-sided derivatives
};

/// Derivatives of the weighted sum of the outputs.
class Differentiator {
 public:
  /// at_rest: the weighted outputs where nothing is moved.
  Differentiator(const Evaluate& evaluate, std::vector<double> at_rest)
      : evaluate_(evaluate), at_rest_(std::move(at_rest)) {}

  Finding examine(const Move& move, double step, double analytic, const Tolerance& tolerance);

 private:
  struct Derivative {
    double value = 0;
    double error = std::numeric_limits<double>::infinity();
    double step = 1;  // the smallest one that went into it
  };
  struct Quotient {
    double value = 0;
    double error = 0;  // by rounding
    double jump = 0;   // |right - left one-sided quotient|, summed over the outputs
    double slope = 0;  // |central quotient|, summed over the outputs
  };

  Derivative extrapolate(const Move& move, double step, const Tolerance& tolerance);
  Quotient quotient(const Move& move, double h, double centre = 0);
  bool has_kink(const Move& move, double step);

  const Evaluate& evaluate_;
  std::vector<double> at_rest_;
  std::vector<double> middle_;
  std::vector<double> above_;
  std::vector<double> below_;
  bool jumps_ = false;  // the last extrapolation saw one-sided quotients that do not approach each other
};

/// One-sided quotients `jump` apart at step h and `before` at a larger one: both sides do not meet. `noise`: of the
/// jump by rounding.
bool persists(double jump, double before, double slope, double noise);

}  // namespace attune::gradcheck_internal
