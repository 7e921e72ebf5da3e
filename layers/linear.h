#pragma once

#include <cstdint>

#include "autograd/ops/ops.h"
#include "layers/init.h"
#include "layers/module.h"

namespace attune {

struct LinearOptions {
  bool bias = true;
  Activation activation = Activation::kNone;  ///< applied while the product is in cache
  double dropout = 0;                         ///< of the result, in training only
  init::Initializer weight_init = init::XavierUniform{};
  init::Initializer bias_init = init::Zeros{};
};

/// y = dropout(activation(x W^T + b)): x [..., in] -> [..., out].
/// Parameters: weight [out, in], by default Glorot's uniform; bias [out], by default zero.
class Linear : public Module {
 public:
  /// Throws ValueError for widths below 1 and a dropout outside [0, 1).
  Linear(int64_t in, int64_t out, LinearOptions options = {});
  /// On a parameter that is there already, [out, in]: weight sharing. It is left as it is.
  explicit Linear(const Variable& weight, LinearOptions options = {});

  /// Throws ShapeError naming the module when the last axis of x is not `in`.
  Variable operator()(const Variable& x) const;

  const Variable& weight() const { return weight_; }
  /// Undefined without a bias.
  const Variable& bias() const { return bias_; }
  const LinearOptions& options() const { return options_; }

 private:
  LinearOptions options_;
  Variable weight_;
  Variable bias_;
};

}  // namespace attune
