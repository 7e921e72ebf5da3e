#pragma once

#include "framework/kernels/score_function.h"

// Formulas that nvcc has compiled for CUDA devices, and the host's compiler for the host.

namespace attune::testing {

/// A function object for both.
ScoreFunction curved_scores(float slope);
/// Two lambdas, and two for the derivative.
ScoreFunction capped_scores(float cap);
/// Keys of another remainder by `step`, and those behind the query, are masked.
MaskFunction striped_keys(int step);

}  // namespace attune::testing
