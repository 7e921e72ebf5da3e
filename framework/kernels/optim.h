#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "framework/kernels/kernel.h"

namespace attune {

/// Pieces of the flat buffers that optimizers work on begin and end at multiples of so many elements: no vector loop
/// needs a tail, and no two pieces share a cache line. The elements between pieces are zero.
inline constexpr int64_t kFlatAlignment = 16;

/// A stretch of the flat buffers that is updated alike.
struct FlatRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t step = 1;  ///< how many times it has been updated, this one included
  double learning_rate = 0;
  double weight_decay = 0;
  bool zero_gradient = false;  ///< also fill the gradient with zeros
};

/// What happens to a gradient before an optimizer sees it: clamp(gradient * scale, -limit, limit).
struct GradientTransform {
  double scale = 1;
  double limit = std::numeric_limits<double>::infinity();
  /// float64 [1] on the operands' device, instead of `scale` where it is defined. Where it is NaN there is no step:
  /// only gradients are filled with zeros as asked for.
  Tensor scale_there{};
  /// int64 [2] on the operands' device, each -1 or what an earlier step left; undefined: not wanted. A step lowers them
  /// to the index of the first element whose gradient, as the optimizer sees it, is NaN or infinite, and of the first
  /// one whose new value or moment is. -1 counts as larger than any index.
  Tensor not_finite{};
};

struct SgdRule {
  double momentum = 0;
  double dampening = 0;
  bool nesterov = false;
};

struct AdamRule {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  bool decoupled = false;  ///< weight decay shrinks the value instead of being added to the gradient
};

// All tensors: flat, of one floating dtype and length. Only the elements in `ranges` are read or written.

/// One step of gradient descent with momentum (see autograd/optim/sgd.h). momentum: undefined when rule.momentum is 0.
ATTUNE_WIDE_KERNEL(sgd_step, Tensor& value, Tensor& gradient, Tensor& momentum, std::span<const FlatRange> ranges,
                   const GradientTransform& transform, const SgdRule& rule);

/// One step of Adam (see autograd/optim/adam.h). m, v: running means of the gradient and of its square.
ATTUNE_WIDE_KERNEL(adam_step, Tensor& value, Tensor& gradient, Tensor& m, Tensor& v, std::span<const FlatRange> ranges,
                   const GradientTransform& transform, const AdamRule& rule);

/// found, float64 [2]: the sum of squares of x over `ranges`, accumulated in float64 and the same for any number of
/// threads; and the index in x of the first element that is NaN or infinite, -1 where there is none.
ATTUNE_WIDE_KERNEL(sum_squares, const Tensor& x, std::span<const FlatRange> ranges, Tensor& found);

/// Clipping by the global norm (Pascanu et al., 2013). report, float64 [n + 1, 2]: the results of n sum_squares, behind
/// which come the norm of all gradients times |scale|, and scale * min(1, limit / (norm + 1e-6)): NaN where the norm is
/// not finite.
ATTUNE_KERNEL(clip_by_norm, double scale, double limit, Tensor& report);

/// average += weight * (x - average). x, average: contiguous, equal shapes and floating dtypes.
ATTUNE_WIDE_KERNEL(move_average, const Tensor& x, double weight, Tensor& average);

/// Exchanges the contents of a and b: contiguous, equal shapes and floating dtypes.
ATTUNE_WIDE_KERNEL(exchange, Tensor& a, Tensor& b);

}  // namespace attune
