#include "layers/loss.h"

#include <cmath>
#include <utility>

#include "framework/fail.h"

namespace attune {

CrossEntropyLoss::CrossEntropyLoss(CrossEntropyOptions given) : options_(std::move(given)) {
  const CrossEntropyOptions& options = options_;
  require<ValueError>(options.label_smoothing >= 0 && options.label_smoothing < 1,
                      "CrossEntropyLoss: label smoothing is {}, expected 0 <= e < 1", options.label_smoothing);
  require<ValueError>(options.r_drop >= 0 && std::isfinite(options.r_drop),
                      "CrossEntropyLoss: r_drop is {}, expected 0 or more", options.r_drop);
  require<ValueError>(
      options.r_drop == 0 || (options.reduction != Reduction::kNone && !options.class_weights.defined()),
      "CrossEntropyLoss: r_drop is {}, which goes with neither class_weights nor Reduction::kNone", options.r_drop);
  require<ShapeError>(!options.class_weights.defined() || options.class_weights.rank() == 1,
                      "CrossEntropyLoss: class_weights have shape {}, expected [V]", options.class_weights.shape());
}

Variable CrossEntropyLoss::operator()(const Variable& logits, const Tensor& targets) const {
  return result(cross_entropy(logits, targets, options_));
}

Variable CrossEntropyLoss::operator()(const Variable& x, const Linear& head, const Tensor& targets) const {
  if (head.options().activation != Activation::kNone || head.options().dropout != 0) {
    fail<ValueError>("{}: the head {} has an activation or dropout, expected a plain Linear", who("CrossEntropyLoss"),
                     head.who("Linear"));
  }
  return result(linear_cross_entropy(x, head.weight(), head.bias(), targets, options_));
}

HuberLoss::HuberLoss(HuberOptions options) : options_(options) {
  require<ValueError>(options.delta > 0, "HuberLoss: delta {} given, expected more than 0", options.delta);
}

}  // namespace attune
