#pragma once

// Activations, element by element (activation.cpp); tanh and sigmoid stand in ops.h.

#include "autograd/variable.h"

namespace attune {

Variable softplus(const Variable& x);     ///< log(1 + exp(x)), without overflow
Variable log_sigmoid(const Variable& x);  ///< log sigmoid(x), without overflow
Variable relu(const Variable& x);         ///< derivative 0 at 0
Variable silu(const Variable& x);         ///< x sigmoid(x)
/// Gaussian error linear unit (Hendrycks and Gimpel, 2016): x Phi(x) with the error function.
Variable gelu(const Variable& x);
/// Its tanh approximation: x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).
Variable gelu_tanh(const Variable& x);

/// x for x > 0, alpha (exp(x) - 1) otherwise (Clevert et al., 2016). Throws ValueError unless alpha >= 0.
Variable elu(const Variable& x, double alpha = 1);
/// x for x > 0, alpha (exp(x / alpha) - 1) otherwise (Barron, 2017). Throws ValueError unless alpha > 0.
Variable celu(const Variable& x, double alpha = 1);
/// 1.0507 elu(x, 1.6733): zero mean and unit variance stay (Klambauer et al., 2017).
Variable selu(const Variable& x);
/// x for x > 0, slope x otherwise (Maas et al., 2013); derivative `slope` at 0.
Variable leaky_relu(const Variable& x, double slope = 0.01);
/// The same with slopes that are learned (He et al., 2015): x [..., D], slopes [D], or [1] for one.
Variable prelu(const Variable& x, const Variable& slopes);
/// x tanh(softplus(x)) (Misra, 2019).
Variable mish(const Variable& x);
/// x sigmoid(beta x) (Ramachandran et al., 2017); silu() for beta = 1.
Variable swish(const Variable& x, double beta);
/// x / 6 + 1/2, limited to [0, 1]; derivative 0 at both limits.
Variable hard_sigmoid(const Variable& x);
/// x hard_sigmoid(x) (Howard et al., 2019); derivative 0 at -3, 1 at 3.
Variable hard_swish(const Variable& x);
/// x / (1 + |x|)
Variable softsign(const Variable& x);

}  // namespace attune
