#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "autograd/variable.h"

namespace attune {

/// What is known about one gradient.
enum class GradientVerdict : uint8_t {
  kOk,
  kWrong,
  kNoise,  ///< the reference's own error is larger than the tolerance and covers the difference: the step cannot tell
  kKink,   ///< not differentiable there: one-sided difference quotients disagree however small the step
};
/// "OK", "WRONG", "NOISE", "KINK"
const char* verdict_name(GradientVerdict verdict);

/// Gradients that must be exactly 0 when only some elements of the outputs count: masked keys, padded rows, future
/// tokens, embeddings that are not used. Checked bit by bit, not within a tolerance, and for every element.
struct GradcheckZeros {
  std::string what;               ///< "future tokens"
  std::vector<Tensor> outputs{};  ///< bool, of every output's shape: what counts; empty: everything
  /// Names of leaves, and where their gradients must be 0: bool, of their shapes.
  std::vector<std::pair<std::string, Tensor>> leaves{};
  /// They are 0 because the layer says so, though the outputs depend on them (an embedding's padding row): not compared
  /// with difference quotients.
  bool by_definition = false;
};

enum class GradcheckMode : uint8_t {
  kElements,
  /// Along random directions, each a weighting of all elements of one input: a few evaluations per input, however many
  /// elements it has. An input that fails is then searched by elements.
  kProjections,
};

struct GradcheckOptions {
  /// An element agrees when |analytic - numeric| <= absolute + relative * max(|analytic|, |numeric|).
  double absolute = 1e-8;
  double relative = 1e-6;
  /// First step of the difference quotients, times max(1, |x|); halved until the extrapolation has converged.
  double step = 1e-3;
  uint64_t seed = 1;  ///< of the weights of the outputs, of the sampled elements and of the directions
  /// Checks at most so many elements of each input, drawn at random; 0: all.
  int64_t max_elements = 0;
  GradcheckMode mode = GradcheckMode::kElements;
  int64_t projections = 4;
  /// Time for all inputs together: elements are drawn at random until it is spent, at least one of each input; 0: no
  /// limit.
  double seconds = 0;
  std::vector<GradcheckZeros> zeros{};
  /// Names of the axes of inputs, for the report: {"x", "B T D"}.
  std::vector<std::pair<std::string, std::string>> axes{};
};

/// What was found about one input or parameter.
struct GradcheckEntry {
  std::string name;
  Shape shape;
  GradientVerdict verdict = GradientVerdict::kOk;
  int64_t checked = 0;      ///< elements compared; all of them after projections that agree
  int64_t failed = 0;       ///< elements that differ, or that must be 0 and are not
  int64_t noisy = 0;        ///< elements for which the reference cannot tell
  int64_t kinks = 0;        ///< elements where the function has no derivative
  int64_t zeros = 0;        ///< elements that were checked to be exactly 0
  double max_absolute = 0;  ///< largest |analytic - numeric|
  double max_relative = 0;  ///< largest |analytic - numeric| / max(|analytic|, |numeric|, absolute tolerance)
  /// ||analytic - numeric|| / ||numeric|| over the elements, or over the norm of the tolerances where that is larger;
  /// estimated by projections.
  double relative_difference = 0;
  double cosine = 1;  ///< of analytic and numeric over the elements; 1 where both are within the tolerances of 0
  // The element farthest from its tolerance, failing ones first.
  Shape worst_index;
  std::string worst;  ///< the same by the names of the axes: "B=1 T=0"
  double analytic = 0;
  double numeric = 0;
  double numeric_error = 0;  ///< the reference's estimate of its own error
  double tolerance = 0;
  std::string note;  ///< what is at a kink, or which gradient must be 0 and is not
  /// |analytic - numeric| / tolerance of every element in row-major order, NaN where it was not compared.
  std::vector<float> distances;

  bool ok() const { return verdict == GradientVerdict::kOk; }
};

struct GradcheckReport {
  bool ok = true;
  std::vector<GradcheckEntry> entries;

  /// A line per entry.
  std::string to_string() const;
};

/// Named leaves that a function refers to, such as a module's named_parameters().
using NamedLeaves = std::vector<std::pair<std::string, Variable>>;

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

/// The same for leaves: their values are changed in place and restored. Leaves that require no gradient are passed
/// over; the others' gradients are forgotten.
GradcheckReport gradcheck(const std::function<Variable()>& f, const NamedLeaves& leaves,
                          const GradcheckOptions& options = {});
GradcheckReport gradcheck(const std::function<std::vector<Variable>()>& f, const NamedLeaves& leaves,
                          const GradcheckOptions& options = {});

/// A computation and the leaves whose gradients are asked for.
struct GradcheckSubject {
  std::function<std::vector<Variable>()> f;
  NamedLeaves leaves;
};

/// Judges gradients computed in another dtype or on another device by those of float64 on the CPU.
///
/// Both subjects have leaves of the same names, shapes and values. Outputs are weighted as in gradcheck(). An element
/// agrees when
///
///     |g - g64| <= (gamma(n, u) + gamma(m, v)) scale,     gamma(n, u) = exp(lambda sqrt(n) u + n u^2 / (1 - u)) - 1,
///
/// the probabilistic rounding error bound of Higham and Mary ("A new approach to probabilistic rounding error
/// analysis", SIAM J. Sci. Comput. 41(5), 2019, theorem 2.4, lambda = 8) in place of the worst case n u (Higham,
/// "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1). u is the unit roundoff of the arithmetic
/// (float32 for bfloat16, which is storage) and n the sum of the longest sums that the ops of f can contain, forward
/// and backward, found while they run; v is the unit roundoff of what is stored between ops, and m their number. scale:
/// the largest element of the gradient, or of any gradient that backward() has on its way.
///
/// Differences beyond that are looked at again with operands moved by a few units in their last place. Where the
/// difference itself changes as much as it is large, it comes from rounding that the function enlarges, or from a kink
/// between the two (relu at 0), and not from a wrong formula: the element agrees when it is at most sqrt(v) scale,
/// and counts as noisy otherwise. Most elements must be comparable for the verdict OK.
///
/// Of the options counts: seed, zeros, axes.
GradcheckReport gradcheck_against_float64(const GradcheckSubject& reference, const GradcheckSubject& subject,
                                          const GradcheckOptions& options = {});

}  // namespace attune
