#pragma once

#include <string>
#include <vector>

#include "autograd/gradcheck/derivative.h"

namespace attune::gradcheck_internal {

/// Adds up what is found about the elements of one gradient.
class Tally {
 public:
  /// absolute: differences below are nothing, for the relative error.
  Tally(const std::string& name, const Shape& shape, const GradcheckOptions& options);

  void add(int64_t position, double analytic, const Finding& finding, double tolerance, double absolute);
  /// gradient: float64, contiguous; where: bool of the same shape. Every element there must be 0.
  void check_zeros(const GradcheckZeros& rule, const Tensor& gradient, const Tensor& where);
  /// Instead of elements: `differences` of derivatives along directions of independent standard normal elements, whose
  /// mean square is the square of the norm of the difference of the gradients; norm: of the gradient.
  void set_projected(double difference, double norm);
  /// Whether the element is 0 by definition.
  bool is_defined_zero(int64_t position) const { return !defined_.empty() && defined_[static_cast<size_t>(position)]; }

  void set_note(std::string note) { entry_.note = std::move(note); }
  const GradcheckEntry& entry() const { return entry_; }
  GradcheckEntry finish();

 private:
  bool is_worse(GradientVerdict verdict, double distance) const;
  std::string named(const Shape& index) const;

  GradcheckEntry entry_;
  std::vector<std::string> axes_;
  std::vector<bool> defined_;  // which elements are 0 by definition; empty: none
  GradientVerdict worst_verdict_ = GradientVerdict::kOk;
  double farthest_ = -1;
  bool projected_ = false;
  // Sums of products over the elements.
  double analytic_analytic_ = 0;
  double analytic_numeric_ = 0;
  double numeric_numeric_ = 0;
  double difference_difference_ = 0;
  double tolerance_tolerance_ = 0;
};

/// The gradient of a leaf in float64; zeros where there is none.
Tensor gradient_of(const Variable& leaf);

/// Runs every rule of the options on gradients of `record(counted)`, which computes the root of backward().
void check_zeros(const std::vector<GradcheckZeros>& rules, const NamedLeaves& leaves, std::vector<Tally>& tallies,
                 const std::function<Variable(const std::vector<Tensor>& counted)>& record);

}  // namespace attune::gradcheck_internal
