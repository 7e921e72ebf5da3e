#pragma once

#include "framework/kernels/kernel.h"

namespace attune {

struct CrossEntropySpec {
  double smoothing = 0;
  int64_t ignore_index = -100;
};

/// loss[r] = -sum_v q_v log softmax(logits[r])_v, q = (1 - smoothing) one-hot(target) + smoothing / V; 0 for ignored
/// rows. lse[r] = log sum exp. logits [rows, V] contiguous, targets int64 [rows] within range, loss, lse [rows].
ATTUNE_WIDE_KERNEL(cross_entropy, const Tensor& logits, const Tensor& targets, const CrossEntropySpec& spec,
                   Tensor& loss, Tensor& lse);

/// dlogits = scale (softmax(logits) - q), 0 in ignored rows. dlogits may be logits.
ATTUNE_WIDE_KERNEL(cross_entropy_backward, const Tensor& logits, const Tensor& targets, const CrossEntropySpec& spec,
                   const Tensor& lse, double scale, Tensor& dlogits);

}  // namespace attune
