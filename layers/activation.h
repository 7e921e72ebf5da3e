#pragma once

// Activations of autograd/ops/activation.h as modules, for Sequential: x of any shape -> the same shape.

#include <cstdint>

#include "autograd/ops/ops.h"
#include "layers/module.h"

namespace attune {

/// A function without parameters as a module.
class Elementwise : public Module {
 public:
  Variable operator()(const Variable& x) const { return result(function_(x)); }

 protected:
  using Function = Variable (*)(const Variable&);
  explicit Elementwise(Function function) : function_(function) {}

 private:
  Function function_;
};

class Relu : public Elementwise {
 public:
  Relu() : Elementwise(relu) {}
};

class Gelu : public Elementwise {
 public:
  Gelu() : Elementwise(gelu) {}
};

class GeluTanh : public Elementwise {
 public:
  GeluTanh() : Elementwise(gelu_tanh) {}
};

class Silu : public Elementwise {
 public:
  Silu() : Elementwise(silu) {}
};

class Selu : public Elementwise {
 public:
  Selu() : Elementwise(selu) {}
};

class Mish : public Elementwise {
 public:
  Mish() : Elementwise(mish) {}
};

class Tanh : public Elementwise {
 public:
  Tanh() : Elementwise(tanh) {}
};

class Sigmoid : public Elementwise {
 public:
  Sigmoid() : Elementwise(sigmoid) {}
};

class LogSigmoid : public Elementwise {
 public:
  LogSigmoid() : Elementwise(log_sigmoid) {}
};

class Softplus : public Elementwise {
 public:
  Softplus() : Elementwise(softplus) {}
};

class Softsign : public Elementwise {
 public:
  Softsign() : Elementwise(softsign) {}
};

class HardSigmoid : public Elementwise {
 public:
  HardSigmoid() : Elementwise(hard_sigmoid) {}
};

class HardSwish : public Elementwise {
 public:
  HardSwish() : Elementwise(hard_swish) {}
};

/// softmax() over the last axis.
class Softmax : public Elementwise {
 public:
  Softmax() : Elementwise(softmax) {}
};

/// log_softmax() over the last axis.
class LogSoftmax : public Elementwise {
 public:
  LogSoftmax() : Elementwise(log_softmax) {}
};

/// A function of one number besides as a module.
class ParametricElementwise : public Module {
 public:
  Variable operator()(const Variable& x) const { return result(function_(x, number_)); }

 protected:
  using Function = Variable (*)(const Variable&, double);
  ParametricElementwise(Function function, double number) : function_(function), number_(number) {}

 private:
  Function function_;
  double number_;
};

class Elu : public ParametricElementwise {
 public:
  /// Throws ValueError unless alpha >= 0.
  explicit Elu(double alpha = 1);
};

class Celu : public ParametricElementwise {
 public:
  /// Throws ValueError unless alpha > 0.
  explicit Celu(double alpha = 1);
};

class LeakyRelu : public ParametricElementwise {
 public:
  explicit LeakyRelu(double slope = 0.01) : ParametricElementwise(leaky_relu, slope) {}
};

class Swish : public ParametricElementwise {
 public:
  explicit Swish(double beta = 1) : ParametricElementwise(swish, beta) {}
};

/// prelu(): x [..., D] with slopes that are learned. Parameter: weight [count].
class PRelu : public Module {
 public:
  /// count: D, a slope for each channel, or 1 for all. Throws ValueError for a count below 1.
  explicit PRelu(int64_t count = 1, double slope = 0.25);

  /// Throws ShapeError naming the module.
  Variable operator()(const Variable& x) const;

 private:
  Variable weight_;
};

}  // namespace attune
