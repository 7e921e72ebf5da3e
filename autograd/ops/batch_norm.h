#pragma once

#include "autograd/variable.h"

namespace attune {

struct BatchNormResult {
  Variable output;
  Tensor mean;      ///< [C], of the batch
  Tensor variance;  ///< [C], of the batch, biased
};

/// Normalisation by the statistics of the batch (Ioffe and Szegedy, 2015, algorithm 1): with mean and var, biased, over
/// all axes but the last, (x - mean) / sqrt(var + eps) * gain + shift. x [..., C], gain and shift [C]. The gradient
/// flows through the statistics. Throws ShapeError.
BatchNormResult batch_norm(const Variable& x, const Variable& gain, const Variable& shift, double eps = 1e-5);

/// The same by statistics that are given, as evaluation has them; no gradient flows through them. mean, variance [C].
Variable batch_norm_by(const Variable& x, const Tensor& mean, const Tensor& variance, const Variable& gain,
                       const Variable& shift, double eps = 1e-5);

}  // namespace attune
