#include "autograd/ops/activation.h"

#include "autograd/ops/ops.h"
#include "autograd/ops/unary.h"
#include "framework/kernels/elementwise.h"

namespace attune {

Variable softplus(const Variable& x) {
  return unary("softplus", x, Keeps::kInput, kernels::softplus, kernels::softplus_backward);
}

Variable log_sigmoid(const Variable& x) {
  check_operand("log_sigmoid", "x", x);
  return -softplus(-x);
}

Variable relu(const Variable& x) { return unary("relu", x, Keeps::kOutput, kernels::relu, kernels::relu_backward); }
Variable silu(const Variable& x) { return unary("silu", x, Keeps::kInput, kernels::silu, kernels::silu_backward); }
Variable gelu(const Variable& x) { return unary("gelu", x, Keeps::kInput, kernels::gelu, kernels::gelu_backward); }
Variable gelu_tanh(const Variable& x) {
  return unary("gelu_tanh", x, Keeps::kInput, kernels::gelu_tanh, kernels::gelu_tanh_backward);
}

Variable elu(const Variable& x, double alpha) {
  require<ValueError>(alpha >= 0, "elu: alpha {} given, expected 0 or more", alpha);
  return unary("elu", x, Keeps::kOutput, kernels::elu, kernels::elu_backward, alpha, 1.0);
}

Variable celu(const Variable& x, double alpha) {
  require<ValueError>(alpha > 0, "celu: alpha {} given, expected more than 0", alpha);
  return unary("celu", x, Keeps::kOutput, kernels::elu, kernels::elu_backward, alpha, 1 / alpha);
}

Variable selu(const Variable& x) {
  constexpr double kAlpha = 1.67326324235437728482;
  constexpr double kScale = 1.05070098735548049342;
  check_operand("selu", "x", x);
  return elu(x, kAlpha) * kScale;
}

Variable leaky_relu(const Variable& x, double slope) {
  return unary("leaky_relu", x, Keeps::kInput, kernels::leaky_relu, kernels::leaky_relu_backward, slope, 0.0);
}

Variable prelu(const Variable& x, const Variable& slopes) {
  check_operand("prelu", "x", x);
  check_operand("prelu", "slopes", slopes);
  require<ShapeError>(slopes.rank() == 1 && (slopes.dim(0) == 1 || (x.rank() > 0 && slopes.dim(0) == x.dim(-1))),
                      "prelu: slopes have shape {}, expected [1] or the last extent of x {}", slopes.shape(),
                      x.shape());
  check_parameter_dtype("prelu", x, slopes, "slopes");
  const Variable zero(Tensor::zeros({}, x.dtype(), x.device()));
  return maximum(zero, x) + minimum(x, zero) * parameter_for(x, slopes);
}

Variable mish(const Variable& x) { return unary("mish", x, Keeps::kInput, kernels::mish, kernels::mish_backward); }

Variable swish(const Variable& x, double beta) {
  return unary("swish", x, Keeps::kInput, kernels::swish, kernels::swish_backward, beta, 0.0);
}

Variable hard_sigmoid(const Variable& x) {
  return unary("hard_sigmoid", x, Keeps::kInput, kernels::hard_sigmoid, kernels::hard_sigmoid_backward);
}
Variable hard_swish(const Variable& x) {
  return unary("hard_swish", x, Keeps::kInput, kernels::hard_swish, kernels::hard_swish_backward);
}
Variable softsign(const Variable& x) {
  return unary("softsign", x, Keeps::kInput, kernels::softsign, kernels::softsign_backward);
}

}  // namespace attune
