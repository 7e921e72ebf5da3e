#pragma once

#include <utility>

#include "autograd/ops/ops.h"
#include "layers/linear.h"

namespace attune {

/// Softmax cross-entropy with label smoothing, an ignored index, weights of classes, and a mean, a sum or every loss
/// (see CrossEntropyOptions).
class CrossEntropyLoss : public Module {
 public:
  /// Throws ValueError unless 0 <= label_smoothing < 1 and r_drop >= 0, and for r_drop with class weights or
  /// Reduction::kNone; ShapeError for class weights that are not of one axis.
  explicit CrossEntropyLoss(CrossEntropyOptions given = {});

  /// logits [..., V], targets int64 [...] -> scalar.
  Variable operator()(const Variable& logits, const Tensor& targets) const;
  /// The same for logits = head(x), which are never held as a whole. x [..., D], head: D -> V. Throws ValueError for a
  /// head with an activation or dropout.
  Variable operator()(const Variable& x, const Linear& head, const Tensor& targets) const;

 private:
  CrossEntropyOptions options_;
};

// Losses of autograd/ops/loss.h as modules; targets may be Variables, too.

/// nll_loss(): log_p [..., V], targets int64 [...].
class NllLoss : public Module {
 public:
  explicit NllLoss(NllOptions options = {}) : options_(std::move(options)) {}
  Variable operator()(const Variable& log_p, const Tensor& targets) const {
    return result(nll_loss(log_p, targets, options_));
  }

 private:
  NllOptions options_;
};

/// mse_loss(): x and target of one shape.
class MseLoss : public Module {
 public:
  explicit MseLoss(Reduction reduction = Reduction::kMean) : reduction_(reduction) {}
  template <class Target>
  Variable operator()(const Variable& x, const Target& target) const {
    return result(mse_loss(x, target, reduction_));
  }

 private:
  Reduction reduction_;
};

/// l1_loss(): x and target of one shape.
class L1Loss : public Module {
 public:
  explicit L1Loss(Reduction reduction = Reduction::kMean) : reduction_(reduction) {}
  template <class Target>
  Variable operator()(const Variable& x, const Target& target) const {
    return result(l1_loss(x, target, reduction_));
  }

 private:
  Reduction reduction_;
};

/// huber_loss(): x and target of one shape.
class HuberLoss : public Module {
 public:
  /// Throws ValueError unless delta > 0.
  explicit HuberLoss(HuberOptions options = {});
  template <class Target>
  Variable operator()(const Variable& x, const Target& target) const {
    return result(huber_loss(x, target, options_));
  }

 private:
  HuberOptions options_;
};

/// bce_with_logits(): logits and target of one shape.
class BceWithLogitsLoss : public Module {
 public:
  explicit BceWithLogitsLoss(BceOptions options = {}) : options_(std::move(options)) {}
  template <class Target>
  Variable operator()(const Variable& x, const Target& target) const {
    return result(bce_with_logits(x, target, options_));
  }

 private:
  BceOptions options_;
};

/// kl_div(): log-probabilities and target of one shape.
class KlDivLoss : public Module {
 public:
  explicit KlDivLoss(KlDivOptions options = {}) : options_(options) {}
  template <class Target>
  Variable operator()(const Variable& log_p, const Target& target) const {
    return result(kl_div(log_p, target, options_));
  }

 private:
  KlDivOptions options_;
};

}  // namespace attune
