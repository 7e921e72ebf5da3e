#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

struct CrossEntropySpec {
  double smoothing = 0;
  int64_t ignore_index = -100;
  double r_drop = 0;      ///< alpha; above 0, row r and row r + rows / 2 are two draws of one example
  double weight_sum = 0;  ///< of the classes' weights, where there are any
};

/// loss[r] = -sum_v q_v w_v log softmax(logits[r])_v, q = (1 - smoothing) one-hot(target) + smoothing / V; 0 for
/// ignored rows. w: class_weights [V], undefined: 1, and always undefined with r_drop. stats[r] = the largest logit and
/// the log of the sum of exp(logit - largest): added up, they would be rounded to what a logit of that size can tell
/// apart. logits [rows, V] contiguous, targets int64 [rows] within range, those of the first half of the rows with
/// r_drop; loss [rows], stats [rows, 2].
ATTUNE_WIDE_KERNEL(cross_entropy, const Tensor& logits, const Tensor& targets, const Tensor& class_weights,
                   const CrossEntropySpec& spec, Tensor& loss, Tensor& stats);

/// With r_drop, after cross_entropy: divergence[r] = KL(p_r || p_s) for s the other draw of r, p = softmax(logits); 0
/// in ignored rows, and nothing for classes with p_r = 0. loss[r] += r_drop / 2 divergence[r]. divergence [rows].
ATTUNE_WIDE_KERNEL(paired_divergence, const Tensor& logits, const Tensor& targets, const CrossEntropySpec& spec,
                   const Tensor& stats, Tensor& divergence, Tensor& loss);

/// dlogits = scale dlosses (softmax(logits) sum_v q_v w_v - q w), 0 in ignored rows and in those with dlosses = 0.
/// dlosses [rows], undefined: 1, and always undefined with r_drop. With r_drop those of the sum over both draws: of row
/// r also scale r_drop / 2 (p_r - p_s + p_r (log p_r - log p_s - divergence[r])). divergence: undefined without r_drop.
/// dlogits may be logits.
ATTUNE_WIDE_KERNEL(cross_entropy_backward, const Tensor& logits, const Tensor& targets, const Tensor& class_weights,
                   const CrossEntropySpec& spec, const Tensor& stats, const Tensor& divergence, const Tensor& dlosses,
                   double scale, Tensor& dlogits);

}  // namespace attune
