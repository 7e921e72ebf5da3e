#pragma once

// One table of attention variants: the rows of the library's registry and some options beside them. variants_test.cpp
// puts every row through the contract and the gradient check. A new variant is one row of the registry.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "layers/attention/core.h"
#include "tests/support/attention.h"

namespace attune::testing {

struct AttentionVariant {
  /// What the weights of a query that has keys sum to.
  enum class Sum { kOne, kAtMostOne };
  /// What the output is: weights times values, or something else besides.
  enum class Output { kWeightedValues, kOther };
  /// Whether gradients flow through the weights, or they are choices.
  enum class Weights { kSmooth, kChoice };

  std::string name;
  /// For so many heads of the widths below, in the mode (training or evaluation) that the row is about, drawing no
  /// random numbers in it.
  std::function<std::unique_ptr<AttentionCore>(int64_t heads)> make;
  int64_t query = 4;  ///< widths of a head
  int64_t key = 4;
  int64_t value = 3;
  Sum sum = Sum::kOne;
  Output output = Output::kWeightedValues;
  Weights weights = Weights::kSmooth;
  /// The mask kinds that make sense.
  std::function<bool(const MaskKind&)> applies = [](const MaskKind&) { return true; };
};

const std::vector<AttentionVariant>& attention_variants();

}  // namespace attune::testing
