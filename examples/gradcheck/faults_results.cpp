#include <algorithm>
#include <cmath>

#include "examples/gradcheck/faults.h"
#include "framework/random.h"

namespace attune::examples {
namespace {

using Change = std::function<void(Tensor& dx, const FaultyStep&)>;
using Part = MaskPart;

template <class F>
void for_each(Tensor& x, F f) {
  for (int64_t i = 0; i < x.numel(); ++i) f(x.data<double>()[i], i);
}

Change scaled(double factor) {
  return [factor](Tensor& dx, const FaultyStep&) { for_each(dx, [factor](double& v, int64_t) { v *= factor; }); };
}

Change dropped() {
  return [](Tensor& dx, const FaultyStep&) { dx.zero_(); };
}

/// The last two axes in each other's order.
Change transposed() {
  return [](Tensor& dx, const FaultyStep&) {
    if (dx.rank() >= 2) dx = dx.transpose(-1, -2).clone().view(dx.shape());
  };
}

/// Everything one further along an axis, the last comes first.
Change shifted(int axis) {
  return [axis](Tensor& dx, const FaultyStep&) {
    const Tensor from = dx.clone();
    const int64_t n = dx.dim(axis);
    for (int64_t i = 0; i < n; ++i) dx.select(axis, (i + 1) % n).copy_(from.select(axis, i));
  };
}

/// As if a loop over an axis stopped one short, or started one late.
Change without(int axis, bool last) {
  return [axis, last](Tensor& dx, const FaultyStep&) {
    if (dx.dim(axis) > 0) dx.select(axis, last ? dx.dim(axis) - 1 : 0).zero_();
  };
}

/// What must be exactly 0 is next to nothing.
Change leaking() {
  return [](Tensor& dx, const FaultyStep&) {
    for_each(dx, [](double& v, int64_t) {
      if (v == 0) v = 1e-300;
    });
  };
}

/// One part of a packed gradient gets what belongs to another.
Change parts_swapped(int64_t a, int64_t b) {
  return [a, b](Tensor& dx, const FaultyStep&) {
    const Tensor first = dx.select(2, a).clone();
    dx.select(2, a).copy_(dx.select(2, b).clone());
    dx.select(2, b).copy_(first);
  };
}
Change part_scaled(int64_t part, double factor) {
  return [part, factor](Tensor& dx, const FaultyStep&) {
    Tensor values = dx.select(2, part).clone();
    for_each(values, [factor](double& v, int64_t) { v *= factor; });
    dx.select(2, part).copy_(values);
  };
}

/// A mean where a sum belongs, over the rows of the first operand.
Change averaged() {
  return [](Tensor& dx, const FaultyStep& faulty) {
    const Tensor& x = faulty.inputs[0];
    scaled(static_cast<double>(x.dim(-1)) / static_cast<double>(x.numel()))(dx, faulty);
  };
}

/// One element is off by a little.
Change one_element() {
  return [](Tensor& dx, const FaultyStep&) {
    if (dx.numel() > 0) dx.data<double>()[dx.numel() / 2] += 1e-3;
  };
}

Change rounded() {
  return [](Tensor& dx, const FaultyStep&) { dx.copy_(dx.to(DType::kBFloat16)); };
}

/// The formula sees another value of an operand than the op did.
std::function<void(FaultyStep&)> stale(size_t input) {
  return [input](FaultyStep& faulty) {
    Tensor operand = faulty.inputs[input];
    const Tensor before = operand.clone();
    // Not copy_, nor the pointer to write through: the tape would notice that a saved tensor has changed.
    auto* values = const_cast<double*>(std::as_const(operand).data<double>());
    if (operand.is_contiguous()) {
      for (int64_t i = 0; i < operand.numel(); ++i) values[i] = 0.9 * values[i] + 0.05;
    }
    faulty.step.run();
    if (operand.is_contiguous()) std::copy_n(before.data<double>(), operand.numel(), values);
  };
}

/// `=` where `+=` belongs.
std::function<void(FaultyStep&)> overwriting(int input) {
  return [input](FaultyStep& faulty) {
    std::vector<Tensor> dx = faulty.step.run_apart();
    faulty.step.forget(input);
    for (size_t i = 0; i < dx.size(); ++i) {
      if (dx[i].defined()) faulty.step.deliver(static_cast<int>(i), dx[i].clone());
    }
  };
}

/// `+=` twice.
std::function<void(FaultyStep&)> twice(int input) {
  return [input](FaultyStep& faulty) {
    std::vector<Tensor> dx = faulty.step.run_apart();
    for (size_t i = 0; i < dx.size(); ++i) {
      if (!dx[i].defined()) continue;
      faulty.step.deliver(static_cast<int>(i), dx[i].clone());
      if (static_cast<int>(i) == input) faulty.step.deliver(input, dx[i].clone());
    }
  };
}

/// The gradient of one of two outputs is overlooked.
std::function<void(FaultyStep&)> output_overlooked(int output) {
  return [output](FaultyStep& faulty) {
    if (faulty.step.dy(1 - output).defined()) faulty.step.dy(output) = Tensor();
    faulty.step.run();
  };
}

/// Adds faults of one op in one layer.
class Adder {
 public:
  Adder(std::vector<Fault>& faults, std::string layer, std::string options, std::vector<MaskPart> mask, std::string op)
      : faults_(faults), fault_{"", std::move(layer), std::move(options), std::move(mask), std::move(op), {}} {}

  Adder& add(const std::string& name, std::function<void(FaultyStep&)> backward) {
    fault_.name = fault_.op + ": " + name;
    fault_.backward = std::move(backward);
    faults_.push_back(fault_);
    return *this;
  }

 private:
  std::vector<Fault>& faults_;
  Fault fault_;
};

}  // namespace

void add_result_faults(std::vector<Fault>& faults) {
  Adder(faults, "Linear", "{}", {}, "linear")
      .add("sign of dx", changed(0, scaled(-1)))
      .add("dx doubled", changed(0, scaled(2)))
      .add("dx off by 0.1 %", changed(0, scaled(1.001)))
      .add("dx rounded to bfloat16", changed(0, rounded()))
      .add("dW transposed", changed(1, transposed()))
      .add("dW without its last row", changed(1, without(0, true)))
      .add("one element of dW", changed(1, one_element()))
      .add("bias gradient dropped", changed(2, dropped()))
      .add("bias gradient averaged", changed(2, averaged()))
      .add("bias gradient added twice", twice(2))
      .add("stale x", stale(0))
      .add("stale weight", stale(1));
  Adder(faults, "TransformerEncoderLayer", R"({"norm_first": false})", {}, "linear")
      .add("dx overwrites the residual's gradient", overwriting(0));
  Adder(faults, "LayerNorm", R"({"eps": 0.1})", {}, "layer_norm")
      .add("sign of the bias gradient", changed(2, scaled(-1)))
      .add("dx off by 1 %", changed(0, scaled(1.01)))
      .add("weight gradient averaged over rows", changed(1, averaged()))
      .add("dx of the next row", changed(0, shifted(1)))
      .add("stale weight", stale(1));
  Adder(faults, "RMSNorm", R"({"eps": 0.1})", {}, "rms_norm")
      .add("sign of the weight gradient", changed(1, scaled(-1)))
      .add("dx without its last column", changed(0, without(-1, true)));
  Adder(faults, "ScaledDotProduct", R"({"path": "fused"})", {}, "attention")
      .add("sign of dq", changed(0, scaled(-1)))
      .add("dk without 1/sqrt(K)",
           [](FaultyStep& f) { changed(1, scaled(std::sqrt(static_cast<double>(f.inputs[0].dim(3)))))(f); })
      .add("dv one key further", changed(2, shifted(1)))
      .add("heads of dq in another order", changed(0, shifted(2)))
      .add("samples of dk in another order", changed(1, shifted(0)))
      .add("dv without the last key", changed(2, without(1, true)))
      .add("stale v", stale(2));
  Adder(faults, "ScaledDotProduct", R"({"path": "fused"})", {Part::kPadding}, "attention")
      .add("dk leaks into masked keys", changed(1, leaking()))
      .add("dv leaks into masked keys", changed(2, leaking()));
  Adder(faults, "ScaledDotProduct", R"({"path": "fused"})", {Part::kDrop}, "attention")
      .add("dq leaks into queries without keys", changed(0, leaking()));
  Adder(faults, "ScaledDotProduct", R"({"path": "fused"})", {Part::kInfiniteBias}, "attention")
      .add("dk leaks into keys of -infinity", changed(1, leaking()))
      .add("dq leaks into rows of -infinity", changed(0, leaking()));
  Adder(faults, "ScaledDotProduct", R"({"path": "composed"})", {Part::kInfiniteBias}, "masked_softmax")
      .add("gradient leaks into rows of -infinity", changed(0, leaking()));
  Adder(faults, "ScaledDotProduct", R"({"path": "fused", "softcap": 2.0})", {Part::kBias}, "attention")
      .add("stale bias", stale(3));
  Adder(faults, "ScaledDotProduct", R"({"path": "fused"})", {Part::kCausal}, "attention")
      .add("dk of the next key under a causal mask", changed(1, shifted(1)))
      .add("dk leaks to future keys", changed(1, leaking()));
  Adder(faults, "ScaledDotProduct", R"({"path": "fused"})", {Part::kBias}, "attention")
      .add("bias gradient dropped", changed(3, dropped()))
      .add("bias gradient transposed", changed(3, transposed()));
  Adder(faults, "ScaledDotProduct", R"({"path": "fused"})", {Part::kWindow, Part::kBias}, "attention")
      .add("bias gradient leaks out of the window", changed(3, leaking()));
  Adder(faults, "ScaledDotProduct.packed", R"({"path": "fused"})", {}, "attention_packed")
      .add("dq and dk swapped", changed(0, parts_swapped(0, 1)))
      .add("dv dropped", changed(0, part_scaled(2, 0)))
      .add("sign of dk", changed(0, part_scaled(1, -1)));
  Adder(faults, "ScaledDotProduct.packed_kv", R"({"path": "fused"})", {}, "attention_packed_kv")
      .add("dk and dv swapped", changed(1, parts_swapped(0, 1)));
  Adder(faults, "ScaledDotProduct", R"({"path": "composed"})", {Part::kCausal}, "masked_softmax")
      .add("gradient leaks into masked scores", changed(0, leaking()))
      .add("gradient one key further", changed(0, shifted(-1)));
  Adder(faults, "ScaledDotProduct", R"({"path": "composed"})", {}, "matmul")
      .add("gradient of b transposed", changed(1, transposed()))
      .add("sign of the gradient of a", changed(0, scaled(-1)))
      .add("stale a", stale(0));
  Adder(faults, "Embedding", "{}", {}, "embedding")
      .add("rows that are not used get a gradient", changed(0, leaking()))
      .add("gradient of the next row", changed(0, shifted(0)));
  Adder(faults, "Embedding", R"({"scale": true})", {}, "embedding").add("factor sqrt(D) forgotten", [](FaultyStep& f) {
    changed(0, scaled(1 / std::sqrt(static_cast<double>(f.inputs[0].dim(1)))))(f);
  });
  Adder(faults, "CrossEntropyLoss", "{}", {}, "cross_entropy")
      .add("ignored targets get a gradient", changed(0, leaking()))
      .add("mean over ignored targets too", changed(0, averaged()));
  Adder(faults, "CrossEntropyLoss.head", "{}", {}, "linear_cross_entropy")
      .add("bias gradient dropped", changed(2, dropped()))
      .add("sign of dW", changed(1, scaled(-1)))
      .add("dx without the last row", changed(0, without(1, true)));
  Adder(faults, "MeanPooling", "{}", {}, "masked_mean")
      .add("padded positions get a gradient", changed(0, leaking()))
      .add("divided by one too many", changed(0, scaled(0.8)));
  Adder(faults, "Dropout", R"({"p": 0.3})", {}, "dropout").add("factor 1/(1-p) forgotten", changed(0, scaled(0.7)));
  Adder(faults, "TransformerEncoderLayer", R"({"norm_first": true})", {}, "add_layer_norm")
      .add("gradient of the sum overlooked", output_overlooked(0))
      .add("gradient of the branch dropped", changed(1, dropped()));
  Adder(faults, "FirstPooling", "{}", {}, "select").add("gradient of the next position", changed(0, shifted(1)));
  Adder(faults, "MultiHeadAttention.memory", "{}", {}, "slice").add("one row off", changed(0, shifted(0)));
  Adder(faults, "MultiHeadAttention", R"({"add_bias_kv": true})", {}, "concat")
      .add("gradient of the second part dropped", changed(1, dropped()));
  Adder(faults, "MultiHeadAttention", R"({"weights": "averaged"})", {}, "mean")
      .add("factor 1/n forgotten",
           [](FaultyStep& f) { changed(0, scaled(static_cast<double>(f.inputs[0].dim(1))))(f); });
}

}  // namespace attune::examples
