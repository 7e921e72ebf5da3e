// Arithmetic, comparisons and activations: of Tensors, and where there is a derivative of Variables too.

#include "tests/onnx/case.h"

namespace attune::onnx {
namespace {

template <class F>
Ways unary(const Case& c, F f) {
  Ways ways{{f(c.in(0))}};
  if (is_floating(c.in(0).dtype())) ways.push_back({f(c.var(0)).value()});
  return ways;
}

template <class F>
Ways activation(const Case& c, F f) {
  return {{f(c.var(0)).value()}};
}

template <class F>
Ways binary(const Case& c, F f) {
  Ways ways{{f(c.in(0), c.in(1))}};
  if (is_floating(c.in(0).dtype())) ways.push_back({f(c.var(0), c.var(1)).value()});
  return ways;
}

template <class F>
Ways comparison(const Case& c, F f) {
  return {{f(c.in(0), c.in(1))}};
}

/// All inputs, one after the other.
template <class F>
Ways folded(const Case& c, F f, double factor = 1) {
  Tensor y = c.in(0);
  for (size_t i = 1; i < c.inputs.size(); ++i) y = f(y, c.in(i));
  if (!is_floating(y.dtype())) return {{y}};
  Variable z = c.var(0);
  for (size_t i = 1; i < c.inputs.size(); ++i) z = f(z, c.var(i));
  return {{y * factor}, {(z * factor).value()}};
}

Ways divide(const Case& c) {
  if (is_floating(c.in(0).dtype())) return binary(c, [](const auto& a, const auto& b) { return a / b; });
  // ONNX cuts integers off towards 0.
  const Tensor sign_of = sign(c.in(0)) * sign(c.in(1));
  return {{sign_of * floor_divide(abs(c.in(0)), abs(c.in(1)))}};
}

Ways power(const Case& c) {
  const DType dtype = c.in(0).dtype();
  if (c.in(1).dtype() == dtype) {
    if (dtype == DType::kInt64) return {{pow(c.in(0), c.in(1))}};
    return binary(c, [](const auto& a, const auto& b) { return pow(a, b); });
  }
  return {{pow(c.in(0).to(DType::kFloat32), c.in(1).to(DType::kFloat32)).to(dtype)}};
}

Ways clip(const Case& c) {
  if (c.in(1).defined() && c.in(2).defined()) {
    return unary(c, [&](const auto& x) { return clamp(x, c.in(1).item(), c.in(2).item()); });
  }
  if (c.in(1).defined()) return {{maximum(c.in(0), c.in(1))}};
  if (c.in(2).defined()) return {{minimum(c.in(0), c.in(2))}};
  return {{c.in(0)}};
}

Ways prelu_of(const Case& c) {
  if (c.in(1).rank() == 1) return {{prelu(c.var(0), c.var(1)).value()}};
  return {{where(c.in(0) > 0, c.var(0), c.var(0) * c.var(1)).value()}};
}

}  // namespace

void add_elementwise(Operators& ops) {
  ops["Abs"] = [](const Case& c) { return unary(c, [](const auto& x) { return abs(x); }); };
  ops["Neg"] = [](const Case& c) { return unary(c, [](const auto& x) { return -x; }); };
  ops["Exp"] = [](const Case& c) { return unary(c, [](const auto& x) { return exp(x); }); };
  ops["Log"] = [](const Case& c) { return unary(c, [](const auto& x) { return log(x); }); };
  ops["Sqrt"] = [](const Case& c) { return unary(c, [](const auto& x) { return sqrt(x); }); };
  ops["Reciprocal"] = [](const Case& c) { return unary(c, [](const auto& x) { return reciprocal(x); }); };
  ops["Sin"] = [](const Case& c) { return unary(c, [](const auto& x) { return sin(x); }); };
  ops["Cos"] = [](const Case& c) { return unary(c, [](const auto& x) { return cos(x); }); };
  ops["Tanh"] = [](const Case& c) { return unary(c, [](const auto& x) { return tanh(x); }); };
  ops["Sigmoid"] = [](const Case& c) { return unary(c, [](const auto& x) { return sigmoid(x); }); };
  ops["Erf"] = [](const Case& c) { return unary(c, [](const auto& x) { return erf(x); }); };

  ops["Relu"] = [](const Case& c) { return activation(c, relu); };
  ops["Softplus"] = [](const Case& c) { return activation(c, softplus); };
  ops["Softsign"] = [](const Case& c) { return activation(c, softsign); };
  ops["Mish"] = [](const Case& c) { return activation(c, mish); };
  ops["HardSwish"] = [](const Case& c) { return activation(c, hard_swish); };
  ops["Gelu"] = [](const Case& c) { return activation(c, c.text("approximate", "none") == "tanh" ? gelu_tanh : gelu); };
  ops["Elu"] = [](const Case& c) {
    return activation(c, [&](const Variable& x) { return elu(x, c.number("alpha", 1)); });
  };
  ops["Celu"] = [](const Case& c) {
    return activation(c, [&](const Variable& x) { return celu(x, c.number("alpha", 1)); });
  };
  ops["Selu"] = [](const Case& c) {
    return activation(c, [&](const Variable& x) {
      return c.has("alpha") ? elu(x, c.number("alpha", 0)) * c.number("gamma", 0) : selu(x);
    });
  };
  ops["LeakyRelu"] = [](const Case& c) {
    return activation(c, [&](const Variable& x) { return leaky_relu(x, c.number("alpha", 0.01)); });
  };
  ops["HardSigmoid"] = [](const Case& c) {
    return activation(
        c, [&](const Variable& x) { return clamp(affine(x, c.number("alpha", 0.2), c.number("beta", 0.5)), 0, 1); });
  };
  ops["ThresholdedRelu"] = [](const Case& c) {
    return activation(c, [&](const Variable& x) { return where(x.value() > c.number("alpha", 1), x, 0.0); });
  };
  ops["Swish"] = [](const Case& c) {
    return activation(c, [&](const Variable& x) { return swish(x, c.number("alpha", 1)); });
  };
  ops["SwiGLU"] = [](const Case& c) {
    return activation(c, [&](const Variable& x) { return swish(x, c.number("alpha", 1)) * c.var(1); });
  };
  ops["PRelu"] = prelu_of;
  ops["Clip"] = clip;

  ops["Add"] = [](const Case& c) { return binary(c, [](const auto& a, const auto& b) { return a + b; }); };
  ops["Sub"] = [](const Case& c) { return binary(c, [](const auto& a, const auto& b) { return a - b; }); };
  ops["Mul"] = [](const Case& c) { return binary(c, [](const auto& a, const auto& b) { return a * b; }); };
  ops["Div"] = divide;
  ops["Pow"] = power;
  ops["Max"] = [](const Case& c) { return folded(c, [](const auto& a, const auto& b) { return maximum(a, b); }); };
  ops["Min"] = [](const Case& c) { return folded(c, [](const auto& a, const auto& b) { return minimum(a, b); }); };
  ops["Sum"] = [](const Case& c) { return folded(c, [](const auto& a, const auto& b) { return a + b; }); };
  ops["Mean"] = [](const Case& c) {
    return folded(
        c, [](const auto& a, const auto& b) { return a + b; }, 1 / static_cast<double>(c.inputs.size()));
  };

  ops["Less"] = [](const Case& c) { return comparison(c, [](const Tensor& a, const Tensor& b) { return a < b; }); };
  ops["Greater"] = [](const Case& c) { return comparison(c, [](const Tensor& a, const Tensor& b) { return a > b; }); };
  ops["Equal"] = [](const Case& c) { return comparison(c, [](const Tensor& a, const Tensor& b) { return a == b; }); };
  ops["And"] = [](const Case& c) { return comparison(c, [](const Tensor& a, const Tensor& b) { return a & b; }); };
  ops["Or"] = [](const Case& c) { return comparison(c, [](const Tensor& a, const Tensor& b) { return a | b; }); };
  ops["Not"] = [](const Case& c) { return Ways{{~c.in(0)}}; };
  ops["Where"] = [](const Case& c) {
    Ways ways{{where(c.in(0), c.in(1), c.in(2))}};
    if (is_floating(c.in(1).dtype())) ways.push_back({where(c.in(0), c.var(1), c.var(2)).value()});
    return ways;
  };
}

}  // namespace attune::onnx
