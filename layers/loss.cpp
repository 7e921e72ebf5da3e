#include "layers/loss.h"

#include <cmath>

#include "framework/fail.h"

namespace attune {

CrossEntropyLoss::CrossEntropyLoss(CrossEntropyOptions options) : options_(options) {
  require<ValueError>(options.label_smoothing >= 0 && options.label_smoothing < 1,
                      "CrossEntropyLoss: label smoothing is {}, expected 0 <= e < 1", options.label_smoothing);
  require<ValueError>(options.r_drop >= 0 && std::isfinite(options.r_drop),
                      "CrossEntropyLoss: r_drop is {}, expected 0 or more", options.r_drop);
}

Variable CrossEntropyLoss::operator()(const Variable& logits, const Tensor& targets) const {
  return cross_entropy(logits, targets, options_);
}

Variable CrossEntropyLoss::operator()(const Variable& x, const Linear& head, const Tensor& targets) const {
  if (head.options().activation != Activation::kNone || head.options().dropout != 0) {
    fail<ValueError>("{}: the head {} has an activation or dropout, expected a plain Linear", who("CrossEntropyLoss"),
                     head.who("Linear"));
  }
  return linear_cross_entropy(x, head.weight(), head.bias(), targets, options_);
}

}  // namespace attune
