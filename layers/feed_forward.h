#pragma once

#include <cstdint>

#include "layers/activation_registry.h"
#include "layers/linear.h"

namespace attune {

/// What stands between the two products of a feed-forward network.
enum class FeedForwardKind : uint8_t {
  kPlain,  ///< an activation
  /// An activation times another product, a gated linear unit (Shazeer, 2020): GLU with Activation::kSigmoid, ReGLU
  /// with kRelu, GEGLU with kGelu, SwiGLU with kSilu, bilinear with kNone.
  kGated,
};

struct FeedForwardOptions {
  AnyActivation activation = Activation::kRelu;
  double dropout = 0;  ///< of the hidden layer, in training only
  bool bias = true;
  FeedForwardKind kind = FeedForwardKind::kPlain;
};

/// A network with a hidden layer of width `hidden`, at every position by itself: x [..., dim] -> [..., dim].
///
///     plain:  linear2(dropout(activation(linear1(x))))             (Vaswani et al., 2017, section 3.3)
///     gated:  linear2(dropout(activation(gate(x)) linear1(x)))     (Shazeer, 2020, eq. 6)
///
/// Parameters: linear1.weight [hidden, dim], linear2.weight [dim, hidden], and their biases; gated: gate.weight
/// [hidden, dim], gate.bias.
class FeedForward : public Module {
 public:
  FeedForward(int64_t dim, int64_t hidden, const FeedForwardOptions& options = {});

  Variable operator()(const Variable& x) const;

 private:
  /// Dropout of the hidden layer, where the first product has not applied it.
  Variable dropped(const Variable& hidden) const;

  AnyActivation activation_;
  double dropout_;
  Linear& linear1_;
  Linear* gate_ = nullptr;
  Linear& linear2_;
};

}  // namespace attune
