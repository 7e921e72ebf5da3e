#include "autograd/gradcheck.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "autograd/tape.h"
#include "framework/fail.h"
#include "framework/random.h"

namespace attune {
namespace {

using Outputs = std::vector<Variable>;

/// What is checked: the leaf whose gradient backward fills, and the contiguous memory to perturb.
struct Target {
  std::string name;
  Variable leaf;
  Tensor values;
};

/// Fixed random weights for the outputs of f. Weighted outputs are kept apart, not summed: what an input element does
/// not reach cancels exactly in a difference, instead of drowning it in rounding errors.
class Weights {
 public:
  explicit Weights(uint64_t seed) : random_(seed) {}

  /// weight * output for all elements of all outputs, in `weighted`.
  void apply(const Outputs& outputs, std::vector<double>& weighted) {
    prepare(outputs);
    weighted.clear();
    for (size_t k = 0; k < outputs.size(); ++k) {
      const Tensor y = outputs[k].value().contiguous();
      const double* values = y.data<double>();
      const double* weights = weights_[k].data<double>();
      for (int64_t i = 0; i < y.numel(); ++i) weighted.push_back(weights[i] * values[i]);
    }
  }

  /// The sum of weight * output as a scalar on the tape.
  Variable record(const Outputs& outputs) const {
    std::vector<const Variable*> inputs;
    for (const Variable& y : outputs) inputs.push_back(&y);
    std::vector<Tensor> ys{Tensor::zeros({}, DType::kFloat64)};  // nobody reads its value
    return Tape::current().record_many("gradcheck", std::move(ys), inputs, [weights = weights_](Grads& grads) {
      for (size_t k = 0; k < weights.size(); ++k) grads.add(static_cast<int>(k), weights[k].clone());
    })[0];
  }

 private:
  // Weights are drawn when the first outputs show their shapes.
  void prepare(const Outputs& outputs) {
    if (weights_.empty()) {
      for (const Variable& y : outputs) {
        require<DTypeError>(y.dtype() == DType::kFloat64, "gradcheck: an output is {}, expected float64", y.value());
        Tensor weights = random_.uniform(y.shape(), 0.5, 1.5, DType::kFloat64);
        for (double* w = weights.data<double>(); w != weights.data<double>() + weights.numel(); ++w) {
          if (random_.below(2) == 1) *w = -*w;
        }
        weights_.push_back(std::move(weights));
      }
    }
    require<ShapeError>(outputs.size() == weights_.size(), "gradcheck: the function gave {} outputs, then {}",
                        weights_.size(), outputs.size());
    for (size_t k = 0; k < outputs.size(); ++k) {
      require<ShapeError>(outputs[k].shape() == weights_[k].shape(),
                          "gradcheck: output {} had shape {}, then {} for inputs of the same shapes", k,
                          weights_[k].shape(), outputs[k].shape());
    }
  }

  RandomStream random_;
  std::vector<Tensor> weights_;
};

/// Weighted outputs for the inputs as they are at the moment of the call.
using Evaluate = std::function<void(std::vector<double>& weighted)>;

struct Derivative {
  double value = 0;
  double error = std::numeric_limits<double>::infinity();
};

/// Derivatives of the weighted sum of the outputs.
class Differentiator {
 public:
  Differentiator(const Evaluate& evaluate, const GradcheckOptions& options) : evaluate_(evaluate), options_(options) {}

  /// With respect to *x, by Ridders' table: difference quotients at halved steps, each extrapolated through all before.
  /// Ends when the error is far below what the comparison can notice, or grows because rounding takes over.
  Derivative operator()(double* x) {
    constexpr int kLevels = 6;
    double h = options_.step * (std::isfinite(*x) ? std::max(1.0, std::abs(*x)) : 1.0);
    std::array<double, kLevels> before{};  // the table's last row
    Derivative best;
    for (int level = 0; level < kLevels; ++level, h /= 2) {
      const Derivative plain = quotient(x, h);
      std::array<double, kLevels> row{};
      row[0] = plain.value;
      double factor = 4;
      for (int k = 1; k <= level; ++k, factor *= 4) {
        const auto i = static_cast<size_t>(k);
        row[i] = (factor * row[i - 1] - before[i - 1]) / (factor - 1);
        const double error = std::max({std::abs(row[i] - row[i - 1]), std::abs(row[i] - before[i - 1]), plain.error});
        if (error < best.error) best = {row[i], error};
      }
      if (level == 0) {
        best.value = plain.value;
      } else {
        if (best.error <= 0.01 * (options_.absolute + options_.relative * std::abs(best.value))) break;
        const auto last = static_cast<size_t>(level);
        if (std::abs(row[last] - before[last - 1]) > 8 * best.error) break;
      }
      before = row;
    }
    return best;
  }

 private:
  /// The central difference quotient, with its error by rounding.
  Derivative quotient(double* x, double h) {
    const double at = *x;
    *x = at + h;
    double width = *x;
    evaluate_(above_);
    *x = at - h;
    width -= *x;
    evaluate_(below_);
    *x = at;
    if (!std::isfinite(at)) width = 2 * h;  // a masked element: nothing may depend on it
    double difference = 0;
    double magnitude = 0;
    for (size_t i = 0; i < above_.size(); ++i) {
      if (above_[i] == below_[i]) continue;
      difference += above_[i] - below_[i];
      magnitude += std::abs(above_[i]) + std::abs(below_[i]);
    }
    return {difference / width, std::numeric_limits<double>::epsilon() * magnitude / width};
  }

  const Evaluate& evaluate_;
  const GradcheckOptions& options_;
  std::vector<double> above_;
  std::vector<double> below_;
};

Shape index_of(int64_t position, const Shape& shape) {
  Shape index = shape;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    index[axis] = position % shape[axis];
    position /= shape[axis];
  }
  return index;
}

/// All positions, or a sorted random choice of them.
std::vector<int64_t> positions(int64_t count, const GradcheckOptions& options) {
  std::vector<int64_t> chosen(static_cast<size_t>(count));
  for (size_t i = 0; i < chosen.size(); ++i) chosen[i] = static_cast<int64_t>(i);
  if (options.max_elements > 0 && options.max_elements < count) {
    RandomStream random(options.seed);
    random.shuffle(std::span(chosen));
    chosen.resize(static_cast<size_t>(options.max_elements));
    std::sort(chosen.begin(), chosen.end());
  }
  return chosen;
}

GradcheckEntry compare(const Target& target, Differentiator& differentiate, const GradcheckOptions& options) {
  GradcheckEntry entry;
  entry.name = target.name;
  entry.shape = target.leaf.shape();
  const Tensor held = target.leaf.grad();
  const std::vector<double> gradient =  // none: nothing depends on the input, the derivative must be 0
      held.defined() ? held.to_vector<double>() : std::vector<double>(static_cast<size_t>(target.leaf.numel()));
  Tensor values = target.values;
  double farthest = -1;
  for (const int64_t position : positions(values.numel(), options)) {
    const Derivative numeric = differentiate(values.data<double>() + position);
    const double analytic = gradient[static_cast<size_t>(position)];
    const double difference = std::abs(analytic - numeric.value);
    const double size = std::max(std::abs(analytic), std::abs(numeric.value));
    const double tolerance = options.absolute + options.relative * size;
    const bool agrees = difference <= tolerance;  // false for NaN
    const double distance = std::isfinite(difference) ? difference / tolerance : HUGE_VAL;
    ++entry.checked;
    if (!agrees) ++entry.failed;
    entry.max_absolute = std::max(entry.max_absolute, std::isfinite(difference) ? difference : HUGE_VAL);
    entry.max_relative = std::max(entry.max_relative,
                                  std::isfinite(difference) ? difference / std::max(size, options.absolute) : HUGE_VAL);
    if (distance > farthest) {
      farthest = distance;
      entry.worst_index = index_of(position, entry.shape);
      entry.analytic = analytic;
      entry.numeric = numeric.value;
      entry.numeric_error = numeric.error;
    }
  }
  return entry;
}

/// `recorded` computes the outputs from the targets' leaves, `plain` from the memory that is perturbed.
GradcheckReport check(const std::vector<Target>& targets, const std::function<Outputs()>& recorded,
                      const std::function<Outputs()>& plain, const GradcheckOptions& options) {
  require<ValueError>(!targets.empty(), "gradcheck: there is nothing to check, no input requires a gradient");
  for (const Target& target : targets) {
    require<DTypeError>(target.values.dtype() == DType::kFloat64, "gradcheck: {} is {}, expected float64", target.name,
                        target.values);
  }
  Weights weights(options.seed);
  const Evaluate evaluate = [&](std::vector<double>& weighted) {
    const NoGrad no_grad;
    weights.apply(plain(), weighted);
  };
  std::vector<double> values;
  std::vector<double> again;
  evaluate(values);
  evaluate(again);
  for (size_t i = 0; i < values.size(); ++i) {
    require<ValueError>(values[i] == again[i] || (std::isnan(values[i]) && std::isnan(again[i])),
                        "gradcheck: the function gave {} and then {} for the same inputs; restart its random stream "
                        "inside it",
                        values[i], again[i]);
  }
  Tape::current().clear();
  for (const Target& target : targets) Variable(target.leaf).zero_grad();
  const Outputs outputs = recorded();
  weights.apply(outputs, again);
  for (size_t i = 0; i < values.size(); ++i) {
    require<ValueError>(!(std::abs(values[i] - again[i]) > 1e-9 * (1 + std::abs(values[i]))),
                        "gradcheck: the function gave {} for the inputs as they are and {} for contiguous copies",
                        again[i], values[i]);
  }
  const Variable root = weights.record(outputs);
  if (root.requires_grad()) root.backward();

  Differentiator differentiate(evaluate, options);
  GradcheckReport report;
  for (const Target& target : targets) {
    report.entries.push_back(compare(target, differentiate, options));
    report.ok &= report.entries.back().ok();
    Variable(target.leaf).zero_grad();
  }
  return report;
}

}  // namespace

std::string GradcheckReport::to_string() const {
  std::string text;
  for (const GradcheckEntry& e : entries) {
    text += fmt::format("{:5} {} {}: {} of {} elements differ, absolute {:.2e}, relative {:.2e}",
                        e.ok() ? "ok" : "WRONG", e.name, e.shape, e.failed, e.checked, e.max_absolute, e.max_relative);
    if (e.checked > 0) {
      text += fmt::format("; worst at {}: analytic {:.10g}, numeric {:.10g} +- {:.1e}", e.worst_index, e.analytic,
                          e.numeric, e.numeric_error);
    }
    text += '\n';
  }
  return text;
}

GradcheckReport gradcheck(const std::function<Outputs(std::span<const Variable>)>& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options) {
  std::vector<Target> targets;
  Outputs leaves;
  Outputs copies;
  for (const Tensor& input : inputs) {
    const std::string name = fmt::format("input {}", targets.size());
    require<DTypeError>(input.dtype() == DType::kFloat64, "gradcheck: {} is {}, expected float64", name, input);
    leaves.emplace_back(input, true);
    copies.emplace_back(input.clone());
    targets.push_back({name, leaves.back(), copies.back().value()});
  }
  return check(
      targets, [&] { return f(leaves); }, [&] { return f(copies); }, options);
}

GradcheckReport gradcheck(const std::function<Variable(std::span<const Variable>)>& f,
                          const std::vector<Tensor>& inputs, const GradcheckOptions& options) {
  return gradcheck([&](std::span<const Variable> values) { return Outputs{f(values)}; }, inputs, options);
}

GradcheckReport gradcheck(const std::function<Outputs()>& f,
                          const std::vector<std::pair<std::string, Variable>>& leaves,
                          const GradcheckOptions& options) {
  std::vector<Target> targets;
  for (const auto& [name, leaf] : leaves) {
    require<ValueError>(leaf.is_leaf() || !leaf.requires_grad(), "gradcheck: {} is the result of an op, not a leaf",
                        name);
    const bool known = std::any_of(targets.begin(), targets.end(),
                                   [&leaf = leaf](const Target& t) { return t.leaf.leaf() == leaf.leaf(); });
    if (!leaf.requires_grad() || known) continue;
    require<ValueError>(leaf.value().is_contiguous(), "gradcheck: {} is not contiguous", name);
    targets.push_back({name, leaf, leaf.value()});
  }
  return check(targets, f, f, options);
}

GradcheckReport gradcheck(const std::function<Variable()>& f,
                          const std::vector<std::pair<std::string, Variable>>& leaves,
                          const GradcheckOptions& options) {
  return gradcheck([&] { return Outputs{f()}; }, leaves, options);
}

}  // namespace attune
