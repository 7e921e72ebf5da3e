#pragma once

#include "layers/module.h"

namespace attune {

/// Zeroes elements with probability p and scales the others by 1 / (1 - p), in training only (Srivastava et al., 2014).
/// Draws from default_stream().
class Dropout : public Module {
 public:
  /// Throws ValueError unless 0 <= p < 1.
  explicit Dropout(double p);

  Variable operator()(const Variable& x) const;

  double p() const { return p_; }

 private:
  double p_;
};

}  // namespace attune
