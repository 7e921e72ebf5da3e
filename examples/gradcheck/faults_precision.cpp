#include <algorithm>
#include <cmath>
#include <limits>

#include "examples/gradcheck/faults.h"

namespace attune::examples {
namespace {

// Mistakes of precision, coarse enough to show in a case of a few rows: what float32 loses in a million rows or at
// scores of a million, bfloat16 loses in these.

double narrow(double x) { return static_cast<double>(static_cast<float>(bfloat16(static_cast<float>(x)))); }

/// A bias's gradient [D], the sum over the rows of dy [..., D], is rounded at every row.
std::function<void(FaultyStep&)> bias_summed_narrow(int input) {
  return changed(input, [](Tensor& dx, const FaultyStep& f) {
    const Tensor dy = f.step.dy().contiguous();
    double* sums = dx.data<double>();
    dx.zero_();
    for (int64_t i = 0; i < dy.numel(); ++i) {
      double& sum = sums[i % dx.numel()];
      sum = narrow(sum + dy.data<double>()[i]);
    }
  });
}

/// Weights exp(x - log sum exp(x)) of n scores, the log having been rounded.
void coarse_weights(const double* x, int64_t n, double* weights) {
  double top = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int64_t i = 0; i < n; ++i) top = std::max(top, x[i]);
  for (int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - top);
  const double rounded = narrow(top + std::log(sum));
  for (int64_t i = 0; i < n; ++i) weights[i] = std::exp(x[i] - rounded);
}

/// The right gradient and what the rounding adds to it: (rounded softmax(x) - softmax(x)) dy / rows.
void coarse_cross_entropy(Tensor& dx, const FaultyStep& f) {
  const Tensor x = f.inputs[0].contiguous();
  const int64_t n = x.dim(-1), rows = x.numel() / std::max<int64_t>(n, 1);
  std::vector<double> coarse(static_cast<size_t>(n));
  for (int64_t r = 0; r < rows; ++r) {
    double* to = dx.data<double>() + r * n;
    if (std::all_of(to, to + n, [](double v) { return v == 0; })) continue;  // ignored
    coarse_weights(x.data<double>() + r * n, n, coarse.data());
    double sum = 0;
    for (const double w : coarse) sum += w;
    for (int64_t i = 0; i < n; ++i) {
      const double w = coarse[static_cast<size_t>(i)];
      to[i] += (w - w / sum) * f.step.dy().item() / static_cast<double>(rows);
    }
  }
}

/// dv = P^T dy of attention without a mask, P from a rounded log of the sum.
void coarse_attention(Tensor& dv, const FaultyStep& f) {
  const Tensor q = f.inputs[0].contiguous(), k = f.inputs[1].contiguous(), dy = f.step.dy().contiguous();
  const int64_t queries = q.dim(1), heads = q.dim(2), size = q.dim(3), keys = k.dim(1), width = dv.dim(3);
  const int64_t group = heads / std::max<int64_t>(k.dim(2), 1);
  std::vector<double> scores(static_cast<size_t>(keys)), weights(scores.size());
  dv.zero_();
  for (int64_t row = 0; row < q.dim(0) * queries * heads; ++row) {  // (b T + t) H + h
    const int64_t b = row / heads / queries, h = row % heads / group;
    const auto key_row = [&](int64_t s) { return (b * keys + s) * k.dim(2) + h; };
    for (int64_t s = 0; s < keys; ++s) {
      double product = 0;
      for (int64_t i = 0; i < size; ++i) {
        product += q.data<double>()[row * size + i] * k.data<double>()[key_row(s) * size + i];
      }
      scores[static_cast<size_t>(s)] = product / std::sqrt(static_cast<double>(size));
    }
    coarse_weights(scores.data(), keys, weights.data());
    for (int64_t s = 0; s < keys; ++s) {
      for (int64_t i = 0; i < width; ++i) {
        dv.data<double>()[key_row(s) * width + i] +=
            weights[static_cast<size_t>(s)] * dy.data<double>()[row * width + i];
      }
    }
  }
}

}  // namespace

void add_precision_faults(std::vector<Fault>& faults) {
  const auto add = [&](const char* op, const char* what, const char* layer, const char* options,
                       std::function<void(FaultyStep&)> backward) {
    faults.push_back({std::string(op) + ": " + what, layer, options, {}, op, std::move(backward)});
  };
  add("linear", "bias gradient summed in a narrow format", "Linear", "{}", bias_summed_narrow(2));
  add("layer_norm", "bias gradient summed in a narrow format", "LayerNorm", R"({"eps": 0.1})", bias_summed_narrow(2));
  add("batch_norm", "bias gradient summed in a narrow format", "BatchNorm2d", "{}", bias_summed_narrow(2));
  add("conv2d", "bias gradient summed in a narrow format", "Conv2d", "{}", bias_summed_narrow(2));
  add("cross_entropy", "the log of the sum rounded before it is subtracted", "CrossEntropyLoss", "{}",
      changed(0, coarse_cross_entropy));
  add("attention", "the log of the sum rounded before it is subtracted", "ScaledDotProduct", R"({"path": "fused"})",
      changed(2, coarse_attention));
}

}  // namespace attune::examples
