#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "autograd/variable.h"

namespace attune {

struct GradcheckOptions {
  /// An element agrees when |analytic - numeric| <= absolute + relative * max(|analytic|, |numeric|).
  double absolute = 1e-8;
  double relative = 1e-6;
  /// First step of the difference quotients, times max(1, |x|); halved until the extrapolation has converged.
  double step = 1e-3;
  uint64_t seed = 1;  ///< of the weights of the outputs, and of the sampled elements
  /// Checks at most so many elements of each input, drawn at random; 0: all.
  int64_t max_elements = 0;
};

/// What was found about one input or parameter.
struct GradcheckEntry {
  std::string name;
  Shape shape;
  int64_t checked = 0;  ///< elements
  int64_t failed = 0;
  double max_absolute = 0;  ///< largest |analytic - numeric|
  double max_relative = 0;  ///< largest |analytic - numeric| / max(|analytic|, |numeric|, absolute tolerance)
  // The element farthest from its tolerance.
  Shape worst_index;
  double analytic = 0;
  double numeric = 0;
  double numeric_error = 0;  ///< the numeric derivative's estimate of its own error

  bool ok() const { return failed == 0; }
};

struct GradcheckReport {
  bool ok = true;
  std::vector<GradcheckEntry> entries;

  /// A line per entry.
  std::string to_string() const;
};

/// Compares the gradients of f with numeric derivatives: central differences, extrapolated to step 0 (Richardson, 1911;
/// with the choice of the step and the error estimate of Ridders, "Accurate computation of F'(x) and F'(x)F''(x)",
/// 1982). Outputs of any shape are weighted with random numbers of both signs, because errors that cancel in a plain
/// sum are common.
///
/// inputs: float64; every one is checked. Analytic gradients are computed for the inputs as they are given (strided,
/// expanded); numeric ones for contiguous copies, and both must give the same value. f must compute in float64 and be a
/// function of its inputs: one that draws random numbers must restart its stream. Throws DTypeError and ValueError
/// otherwise.
GradcheckReport gradcheck(const std::function<Variable(std::span<const Variable>)>& f,
                          const std::vector<Tensor>& inputs, const GradcheckOptions& options = {});
GradcheckReport gradcheck(const std::function<std::vector<Variable>(std::span<const Variable>)>& f,
                          const std::vector<Tensor>& inputs, const GradcheckOptions& options = {});

/// The same for named leaves that f refers to, such as a module's named_parameters(): their values are changed in place
/// and restored. Leaves that require no gradient are passed over; the others' gradients are forgotten.
GradcheckReport gradcheck(const std::function<Variable()>& f,
                          const std::vector<std::pair<std::string, Variable>>& leaves,
                          const GradcheckOptions& options = {});
GradcheckReport gradcheck(const std::function<std::vector<Variable>()>& f,
                          const std::vector<std::pair<std::string, Variable>>& leaves,
                          const GradcheckOptions& options = {});

}  // namespace attune
