#pragma once

// Losses. Each is a scalar unless told otherwise, in float32 where x is bfloat16: sums of many small numbers.

#include <cstdint>

#include "autograd/variable.h"

namespace attune {

/// What becomes of the losses of all elements, or of all targets.
enum class Reduction : uint8_t {
  kMean,       ///< their mean
  kSum,        ///< their sum
  kNone,       ///< all of them
  kBatchMean,  ///< their sum over the extent of the first axis
};

// Over classes (loss.cpp), which are the last axis; PyTorch has them on axis 1. class_weights: [V], 0 or more, what a
// target of a class counts; a mean is divided by the sum of the weights of its targets. Undefined: 1. Weights on
// another device than the CPU are waited for.

struct CrossEntropyOptions {
  double label_smoothing = 0;   ///< epsilon: the target distribution is (1 - epsilon) one-hot + epsilon / V
  int64_t ignore_index = -100;  ///< targets that count neither in the loss nor in the mean
  Reduction reduction = Reduction::kMean;
  /// Alpha of R-Drop (Liang et al., "R-Drop: Regularized Dropout for Neural Networks", 2021, equation 4). Above 0, the
  /// first axis of logits and targets has all examples twice, the second half in the order of the first, as two draws
  /// of dropout saw them, and each position's loss is its cross-entropy + alpha / 2 KL(its distribution || the
  /// other's).
  double r_drop = 0;
  /// With label smoothing each class of the target distribution has its own weight, as in PyTorch.
  Tensor class_weights{};
};

/// Softmax cross-entropy. logits [..., V], targets int64 [...] -> scalar, or [...] with Reduction::kNone. Mean over the
/// targets that are not ignored; 0 when there are none. Throws ValueError for a target outside 0 ... V - 1, naming its
/// position, with r_drop where the halves of the targets differ, and for r_drop with class weights or kNone.
Variable cross_entropy(const Variable& logits, const Tensor& targets, const CrossEntropyOptions& options = {});

/// cross_entropy(linear(x, weight, bias), targets) in blocks of rows: the logits never leave the cache, and the
/// gradients are computed in the same pass. x [..., D], weight [V, D], bias [V] or undefined. Throws ValueError for
/// Reduction::kNone: gradients of that pass are those of one number.
Variable linear_cross_entropy(const Variable& x, const Variable& weight, const Variable& bias, const Tensor& targets,
                              const CrossEntropyOptions& options = {});

struct NllOptions {
  int64_t ignore_index = -100;  ///< targets that count neither in the loss nor in the mean
  Reduction reduction = Reduction::kMean;
  Tensor class_weights{};
};

/// Negative log-likelihood: -log_p[..., target]. log_p [..., V], such as log_softmax() gives, targets int64 [...] ->
/// scalar, or [...] with Reduction::kNone. Mean and errors as cross_entropy().
Variable nll_loss(const Variable& log_p, const Tensor& targets, const NllOptions& options = {});

// By element (loss_elementwise.cpp). x and target: the same shape, target of the dtype of x, or float32 beside a
// bfloat16 x. A gradient flows to both. A mean of nothing is NaN.

/// (x - target)^2
Variable mse_loss(const Variable& x, const Variable& target, Reduction reduction = Reduction::kMean);
/// |x - target|; derivative 0 where they are equal.
Variable l1_loss(const Variable& x, const Variable& target, Reduction reduction = Reduction::kMean);

struct HuberOptions {
  double delta = 1;  ///< where the square goes over into a line
  Reduction reduction = Reduction::kMean;
};

/// d^2 / 2 for |d| <= delta, delta (|d| - delta / 2) beyond, d = x - target (Huber, 1964). Throws ValueError unless
/// delta > 0.
Variable huber_loss(const Variable& x, const Variable& target, const HuberOptions& options = {});

struct BceOptions {
  Reduction reduction = Reduction::kMean;
  Tensor weight{};      ///< of every loss, broadcast to x; undefined: 1
  Tensor pos_weight{};  ///< of the first of the two terms, broadcast to x, say [V]; undefined: 1
};

/// Binary cross-entropy of logits: -weight (pos_weight t log sigmoid(x) + (1 - t) log(1 - sigmoid(x))), t = target in
/// [0, 1], without a difference of large numbers.
Variable bce_with_logits(const Variable& x, const Variable& target, const BceOptions& options = {});

struct KlDivOptions {
  /// kMean is over elements, as PyTorch's; the divergence itself is kBatchMean over rows.
  Reduction reduction = Reduction::kMean;
  bool log_target = false;  ///< whether the target holds logarithms
};

/// Kullback-Leibler divergence of exp(log_p) from the target, element by element: t (log t - log_p), 0 where t is 0.
/// log_p and target [..., V].
Variable kl_div(const Variable& log_p, const Variable& target, const KlDivOptions& options = {});

// The same for a target that is a Tensor.

inline Variable mse_loss(const Variable& x, const Tensor& target, Reduction reduction = Reduction::kMean) {
  return mse_loss(x, Variable(target), reduction);
}
inline Variable l1_loss(const Variable& x, const Tensor& target, Reduction reduction = Reduction::kMean) {
  return l1_loss(x, Variable(target), reduction);
}
inline Variable huber_loss(const Variable& x, const Tensor& target, const HuberOptions& options = {}) {
  return huber_loss(x, Variable(target), options);
}
inline Variable bce_with_logits(const Variable& x, const Tensor& target, const BceOptions& options = {}) {
  return bce_with_logits(x, Variable(target), options);
}
inline Variable kl_div(const Variable& log_p, const Tensor& target, const KlDivOptions& options = {}) {
  return kl_div(log_p, Variable(target), options);
}

}  // namespace attune
