#pragma once

#include "autograd/ops/ops.h"
#include "layers/linear.h"

namespace attune {

/// Softmax cross-entropy with label smoothing, an ignored index, and mean or sum (see CrossEntropyOptions).
class CrossEntropyLoss : public Module {
 public:
  /// Throws ValueError unless 0 <= label_smoothing < 1 and r_drop >= 0.
  explicit CrossEntropyLoss(CrossEntropyOptions options = {});

  /// logits [..., V], targets int64 [...] -> scalar.
  Variable operator()(const Variable& logits, const Tensor& targets) const;
  /// The same for logits = head(x), which are never held as a whole. x [..., D], head: D -> V. Throws ValueError for a
  /// head with an activation or dropout.
  Variable operator()(const Variable& x, const Linear& head, const Tensor& targets) const;

 private:
  CrossEntropyOptions options_;
};

}  // namespace attune
