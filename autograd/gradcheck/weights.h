#pragma once

#include <span>
#include <vector>

#include "autograd/variable.h"
#include "framework/random.h"

namespace attune::gradcheck_internal {

using Outputs = std::vector<Variable>;

/// Fixed random weights for the outputs of a function. Weighted outputs are kept apart, not summed: what an input
/// element does not reach cancels exactly in a difference, instead of drowning it in rounding errors.
class OutputWeights {
 public:
  /// expected: dtype of the outputs; weights are numbers that it holds exactly.
  OutputWeights(uint64_t seed, DType expected) : random_(seed), expected_(expected) {}

  /// weight * output for all elements of all outputs. Weights are drawn when the first outputs show their shapes;
  /// later ones must have the same.
  void apply(const Outputs& outputs, std::vector<double>& weighted);

  /// The sum of weight * output as the root of backward(); its own value is not computed. counted: bool, what of every
  /// output counts; empty, or undefined for an output: everything. Outputs may have another dtype and device.
  Variable record(const Outputs& outputs, std::span<const Tensor> counted = {}) const;

 private:
  void prepare(const Outputs& outputs);

  RandomStream random_;
  DType expected_;
  std::vector<Tensor> weights_;  // float64
};

}  // namespace attune::gradcheck_internal
