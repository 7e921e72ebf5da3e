#pragma once

#include <cstdint>

#include "layers/linear.h"

namespace attune {

struct FeedForwardOptions {
  Activation activation = Activation::kRelu;
  double dropout = 0;  ///< of the hidden layer, in training only
  bool bias = true;
};

/// linear2(dropout(activation(linear1(x)))) with a hidden layer of width `hidden`, at every position by itself (Vaswani
/// et al., 2017, section 3.3): x [..., dim] -> [..., dim].
/// Parameters: linear1.weight [hidden, dim], linear2.weight [dim, hidden], and their biases.
class FeedForward : public Module {
 public:
  FeedForward(int64_t dim, int64_t hidden, FeedForwardOptions options = {});

  Variable operator()(const Variable& x) const { return linear2_(linear1_(x)); }

 private:
  Linear& linear1_;
  Linear& linear2_;
};

}  // namespace attune
