#include <algorithm>
#include <cmath>

#include "examples/gradcheck/faults.h"

namespace attune::examples {
namespace {

using Gradients = std::vector<Tensor>;

/// Rows of the last axis.
struct Rows {
  explicit Rows(const Tensor& x)
      : whole(x.contiguous()), count(x.numel() / std::max<int64_t>(x.dim(-1), 1)), width(x.dim(-1)) {}
  const double* operator[](int64_t r) const { return whole.data<double>() + r * width; }
  double* at(int64_t r) { return whole.data<double>() + r * width; }

  Tensor whole;
  int64_t count;
  int64_t width;
};

/// dx row by row: f(dx, dy, other, n).
template <class F>
Tensor by_rows(const Tensor& dy, const Tensor& other, F f) {
  Rows out(Tensor::zeros(dy.shape(), DType::kFloat64));
  const Rows upstream(dy), operand(other);
  for (int64_t r = 0; r < out.count; ++r) f(out.at(r), upstream[r], operand[r], out.width);
  return out.whole;
}

/// dx = y dy: the sum over the row is forgotten.
Gradients softmax_without_sum(const FaultyStep& f) {
  return {by_rows(f.step.dy(), f.outputs[0], [](double* dx, const double* dy, const double* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) dx[i] = y[i] * dy[i];
  })};
}

/// dx = y (dy - sum(dy)): the sum is not weighted.
Gradients softmax_with_plain_sum(const FaultyStep& f) {
  return {by_rows(f.step.dy(), f.outputs[0], [](double* dx, const double* dy, const double* y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += dy[i];
    for (int64_t i = 0; i < n; ++i) dx[i] = y[i] * (dy[i] - sum);
  })};
}

enum class NormMistake { kNoMean, kNoVariance, kSampleVariance };

/// LayerNorm's dx with a term left out, or with the unbiased variance. eps 0.1.
template <NormMistake mistake>
Gradients wrong_layer_norm(const FaultyStep& f) {
  const Tensor gain = f.inputs[1].contiguous();
  const double* g = gain.data<double>();
  return {by_rows(f.step.dy(), f.inputs[0], [g](double* dx, const double* dy, const double* x, int64_t n) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n; ++i) mean += x[i] / static_cast<double>(n);
    for (int64_t i = 0; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean) / static_cast<double>(n);
    if (mistake == NormMistake::kSampleVariance && n > 1) {
      variance *= static_cast<double>(n) / static_cast<double>(n - 1);
    }
    const double rstd = 1 / std::sqrt(variance + 0.1);
    double sum = 0, product = 0;
    for (int64_t i = 0; i < n; ++i) {
      sum += g[i] * dy[i] / static_cast<double>(n);
      product += g[i] * dy[i] * (x[i] - mean) * rstd / static_cast<double>(n);
    }
    if (mistake == NormMistake::kNoMean) sum = 0;
    if (mistake == NormMistake::kNoVariance) product = 0;
    for (int64_t i = 0; i < n; ++i) dx[i] = rstd * (g[i] * dy[i] - sum - (x[i] - mean) * rstd * product);
  })};
}

/// The weight's gradient lacks the factor x: it is the bias's.
void gain_without_x(FaultyStep& f) {
  std::vector<Tensor> dx = f.step.run_apart();
  if (dx[2].defined()) dx[1] = dx[2];
  for (size_t i = 0; i < dx.size(); ++i) {
    if (dx[i].defined()) f.step.deliver(static_cast<int>(i), dx[i].clone());
  }
}

/// dx = rstd g dy: the term of the mean square is forgotten. eps 0.1.
Gradients rms_norm_without_correction(const FaultyStep& f) {
  const Tensor gain = f.inputs[1].contiguous();
  const double* g = gain.data<double>();
  return {by_rows(f.step.dy(), f.inputs[0], [g](double* dx, const double* dy, const double* x, int64_t n) {
    double square = 0;
    for (int64_t i = 0; i < n; ++i) square += x[i] * x[i] / static_cast<double>(n);
    for (int64_t i = 0; i < n; ++i) dx[i] = g[i] * dy[i] / std::sqrt(square + 0.1);
  })};
}

/// dx = dy W and dW = dy^T x for rows first ... count - 1, whatever the activation.
Gradients plain_linear(const FaultyStep& f, bool last_row_only) {
  const Rows x(f.inputs[0]), w(f.inputs[1]), dy(f.step.dy());
  Tensor dx = Tensor::zeros(f.inputs[0].shape(), DType::kFloat64);
  Tensor dw = Tensor::zeros(f.inputs[1].shape(), DType::kFloat64);
  for (int64_t r = 0; r < x.count; ++r) {
    for (int64_t o = 0; o < w.count; ++o) {
      for (int64_t i = 0; i < w.width; ++i) {
        dx.data<double>()[r * w.width + i] += dy[r][o] * w[o][i];
        if (last_row_only && r + 1 < x.count) continue;
        dw.data<double>()[o * w.width + i] += dy[r][o] * x[r][i];
      }
    }
  }
  return {dx, dw, Tensor()};
}

/// The gradient of a sum that was broadcast counts the last sample alone.
Gradients add_without_sum(const FaultyStep& f) {
  const Tensor& dy = f.step.dy();
  const Tensor last =
      dy.dim(0) > 0 && f.inputs[1].rank() < dy.rank() ? dy.select(0, dy.dim(0) - 1).clone() : dy.clone();
  return {dy.clone(), last.view(f.inputs[1].shape())};
}

/// dx = dy: what was dropped gets a gradient too.
Gradients passed_through(const FaultyStep& f) { return {f.step.dy().clone()}; }

/// dx = softmax(x) dy / rows: the target is forgotten.
Gradients cross_entropy_without_target(const FaultyStep& f) {
  const Rows x(f.inputs[0]);
  Rows dx(Tensor::zeros(f.inputs[0].shape(), DType::kFloat64));
  for (int64_t r = 0; r < x.count; ++r) {
    double sum = 0;
    for (int64_t i = 0; i < x.width; ++i) sum += std::exp(x[r][i]);
    for (int64_t i = 0; i < x.width; ++i) {
      dx.at(r)[i] = std::exp(x[r][i]) / sum * f.step.dy().item() / static_cast<double>(x.count);
    }
  }
  return {dx.whole};
}

}  // namespace

void add_formula_faults(std::vector<Fault>& faults) {
  const auto add = [&](const char* op, const char* what, const char* layer, const char* options,
                       std::function<void(FaultyStep&)> backward, std::vector<MaskPart> mask = {}) {
    faults.push_back({std::string(op) + ": " + what, layer, options, std::move(mask), op, std::move(backward)});
  };
  const char* composed = R"({"path": "composed"})";
  add("masked_softmax", "the sum over the row forgotten", "ScaledDotProduct", composed, replaced(softmax_without_sum));
  add("masked_softmax", "the sum over the row without weights", "ScaledDotProduct", composed,
      replaced(softmax_with_plain_sum));
  const char* norm = R"({"eps": 0.1})";
  add("layer_norm", "dx without the mean", "LayerNorm", norm, replaced(wrong_layer_norm<NormMistake::kNoMean>));
  add("layer_norm", "dx without the variance", "LayerNorm", norm, replaced(wrong_layer_norm<NormMistake::kNoVariance>));
  add("layer_norm", "dx by the unbiased variance", "LayerNorm", norm,
      replaced(wrong_layer_norm<NormMistake::kSampleVariance>));
  add("layer_norm", "weight gradient without the factor x", "LayerNorm", norm, gain_without_x);
  add("rms_norm", "dx without the mean square", "RMSNorm", norm, replaced(rms_norm_without_correction));
  add("linear", "the activation's derivative forgotten", "Linear", R"({"activation": "gelu"})",
      replaced([](const FaultyStep& f) { return plain_linear(f, false); }));
  add("linear", "dW of the last row alone", "Linear", R"({"bias": false})",
      replaced([](const FaultyStep& f) { return plain_linear(f, true); }));
  add("add", "broadcast operand gets the last sample's gradient", "LearnedPositions", "{}", replaced(add_without_sum));
  add("dropout", "the mask is not applied again", "Dropout", R"({"p": 0.3})", replaced(passed_through));
  add("cross_entropy", "the target forgotten", "CrossEntropyLoss", "{}", replaced(cross_entropy_without_target));
}

}  // namespace attune::examples
