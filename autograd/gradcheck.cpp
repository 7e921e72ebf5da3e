#include "autograd/gradcheck.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "autograd/gradcheck/derivative.h"
#include "autograd/gradcheck/kink.h"
#include "autograd/gradcheck/tally.h"
#include "autograd/gradcheck/weights.h"
#include "autograd/tape.h"
#include "framework/fail.h"

namespace attune {
namespace {

using gradcheck_internal::Differentiator;
using gradcheck_internal::Evaluate;
using gradcheck_internal::Finding;
using gradcheck_internal::gradient_of;
using gradcheck_internal::Move;
using gradcheck_internal::Outputs;
using gradcheck_internal::OutputWeights;
using gradcheck_internal::Tally;
using gradcheck_internal::Tolerance;
using Clock = std::chrono::steady_clock;

/// What is checked: the leaf whose gradient backward fills, and the contiguous memory to perturb.
struct Target {
  std::string name;
  Variable leaf;
  Tensor values;
};

/// All positions, or a random choice of them: sorted, except where time may run out in between.
std::vector<int64_t> positions(int64_t count, const GradcheckOptions& options) {
  std::vector<int64_t> chosen(static_cast<size_t>(count));
  for (size_t i = 0; i < chosen.size(); ++i) chosen[i] = static_cast<int64_t>(i);
  const bool some = options.max_elements > 0 && options.max_elements < count;
  if (!some && options.seconds == 0) return chosen;
  RandomStream random(options.seed);
  random.shuffle(std::span(chosen));
  if (some) chosen.resize(static_cast<size_t>(options.max_elements));
  if (options.seconds == 0) std::sort(chosen.begin(), chosen.end());
  return chosen;
}

class Check {
 public:
  /// `recorded` computes the outputs from the targets' leaves, `plain` from the memory that is perturbed.
  Check(std::vector<Target> targets, const std::function<Outputs()>& recorded, const std::function<Outputs()>& plain,
        const GradcheckOptions& options)
      : targets_(std::move(targets)),
        recorded_(recorded),
        plain_(plain),
        options_(options),
        weights_(options.seed, DType::kFloat64),
        evaluate_([this](std::vector<double>& weighted) {
          const NoGrad no_grad;
          weights_.apply(plain_(), weighted);
        }) {}

  GradcheckReport run();

 private:
  std::vector<double> value_at_rest();
  void compare_elements(const Target& target, const Tensor& gradient, Clock::time_point deadline, Tally& tally);
  void compare_directions(const Target& target, const Tensor& gradient, Clock::time_point deadline, Tally& tally);
  Move element(double* x) const;
  double step_at(double x) const { return options_.step * (std::isfinite(x) ? std::max(1.0, std::abs(x)) : 1.0); }

  std::vector<Target> targets_;
  const std::function<Outputs()>& recorded_;
  const std::function<Outputs()>& plain_;
  const GradcheckOptions& options_;
  OutputWeights weights_;
  Evaluate evaluate_;
  std::vector<double> at_rest_;
};

std::vector<double> Check::value_at_rest() {
  std::vector<double> values;
  std::vector<double> again;
  evaluate_(values);
  evaluate_(again);
  for (size_t i = 0; i < values.size(); ++i) {
    require<ValueError>(values[i] == again[i] || (std::isnan(values[i]) && std::isnan(again[i])),
                        "gradcheck: the function gave {} and then {} for the same inputs; restart its random stream "
                        "inside it",
                        values[i], again[i]);
  }
  return values;
}

Move Check::element(double* x) const {
  return [x, at = *x](double h) {
    *x = h == 0 ? at : at + h;               // a NaN stays what it is, to the bit
    return std::isfinite(at) ? *x - at : h;  // not finite: a masked element, nothing may depend on it
  };
}

void Check::compare_elements(const Target& target, const Tensor& gradient, Clock::time_point deadline, Tally& tally) {
  Differentiator differentiate(evaluate_, at_rest_);
  const Tolerance tolerance{options_.absolute, options_.relative, 0};
  Tensor values = target.values;
  bool explained = false;
  int64_t done = 0;
  for (const int64_t position : positions(values.numel(), options_)) {
    if (tally.is_defined_zero(position)) continue;
    if (options_.seconds > 0 && done++ > 0 && Clock::now() >= deadline) break;
    double* x = values.data<double>() + position;
    const double analytic = gradient.data<double>()[position];
    const Move move = element(x);
    const double step = step_at(*x);
    const Finding finding = differentiate.examine(move, step, analytic, tolerance);
    tally.add(position, analytic, finding, tolerance(analytic, finding.numeric), options_.absolute);
    if (finding.verdict == GradientVerdict::kKink && !explained) {
      explained = true;
      const auto replay = [this] {
        const NoGrad no_grad;
        plain_();
      };
      if (std::string op = gradcheck_internal::find_kink(replay, move, step); !op.empty())
        tally.set_note(std::move(op));
    }
  }
}

void Check::compare_directions(const Target& target, const Tensor& gradient, Clock::time_point deadline, Tally& tally) {
  Differentiator differentiate(evaluate_, at_rest_);
  Tensor values = target.values;
  double* x = values.data<double>();
  const auto count = static_cast<size_t>(values.numel());
  const std::vector<double> at(x, x + count);
  const double* g = gradient.data<double>();
  RandomStream random(options_.seed);
  double norm = 0;
  double largest = 1;
  for (size_t i = 0; i < count; ++i) {
    norm += g[i] * g[i];
    if (std::isfinite(at[i])) largest = std::max(largest, std::abs(at[i]));
  }
  norm = std::sqrt(norm);
  const Tolerance tolerance{options_.absolute * std::sqrt(static_cast<double>(count)), options_.relative, norm};
  bool agree = count > 0 && std::isfinite(norm);
  double squares = 0;
  for (int64_t k = 0; k < options_.projections && agree; ++k) {
    std::vector<double> direction(count);
    double analytic = 0;
    for (size_t i = 0; i < count; ++i) {
      direction[i] = tally.is_defined_zero(static_cast<int64_t>(i)) ? 0 : random.normal();
      analytic += g[i] * direction[i];
    }
    const Move move = [&](double h) {
      for (size_t i = 0; i < count; ++i) x[i] = h == 0 ? at[i] : at[i] + h * direction[i];
      return h;
    };
    const Finding finding = differentiate.examine(move, options_.step * largest, analytic, tolerance);
    agree = finding.verdict == GradientVerdict::kOk;
    squares += (analytic - finding.numeric) * (analytic - finding.numeric);
  }
  if (!agree) {
    compare_elements(target, gradient, deadline, tally);
    return;
  }
  tally.set_projected(std::sqrt(squares / static_cast<double>(options_.projections)),
                      std::max(norm, tolerance.absolute));
}

GradcheckReport Check::run() {
  require<ValueError>(!targets_.empty(), "gradcheck: there is nothing to check, no input requires a gradient");
  for (const Target& target : targets_) {
    require<DTypeError>(target.values.dtype() == DType::kFloat64, "gradcheck: {} is {}, expected float64", target.name,
                        target.values);
  }
  require<ValueError>(options_.seconds >= 0, "gradcheck: {} seconds given, expected at least 0", options_.seconds);
  require<ValueError>(options_.projections >= 1, "gradcheck: {} projections given, expected at least 1",
                      options_.projections);
  const auto start = Clock::now();
  const auto budget = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.seconds));
  at_rest_ = value_at_rest();
  Tape::current().clear();
  NamedLeaves leaves;
  for (const Target& target : targets_) {
    leaves.emplace_back(target.name, target.leaf);
    leaves.back().second.zero_grad();
  }
  const Outputs outputs = recorded_();
  std::vector<double> again;
  weights_.apply(outputs, again);
  for (size_t i = 0; i < at_rest_.size(); ++i) {
    require<ValueError>(!(std::abs(at_rest_[i] - again[i]) > 1e-9 * (1 + std::abs(at_rest_[i]))),
                        "gradcheck: the function gave {} for the inputs as they are and {} for contiguous copies",
                        again[i], at_rest_[i]);
  }
  const Variable root = weights_.record(outputs);
  if (root.requires_grad()) root.backward();

  std::vector<Tally> tallies;
  std::vector<Tensor> gradients;
  for (const auto& [name, leaf] : leaves) {
    tallies.emplace_back(name, leaf.shape(), options_);
    gradients.push_back(gradient_of(leaf).clone());
  }
  gradcheck_internal::check_zeros(options_.zeros, leaves, tallies, [&](const std::vector<Tensor>& counted) {
    return weights_.record(recorded_(), counted);
  });
  GradcheckReport report;
  for (size_t k = 0; k < targets_.size(); ++k) {
    const auto share = budget * static_cast<int64_t>(k + 1) / static_cast<int64_t>(targets_.size());
    const auto compare =
        options_.mode == GradcheckMode::kElements ? &Check::compare_elements : &Check::compare_directions;
    (this->*compare)(targets_[k], gradients[k], start + share, tallies[k]);
    report.entries.push_back(tallies[k].finish());
    report.ok &= report.entries.back().ok();
    leaves[k].second.zero_grad();
  }
  return report;
}

}  // namespace

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
  const std::function<Outputs()> recorded = [&] { return f(leaves); };
  const std::function<Outputs()> plain = [&] { return f(copies); };
  return Check(std::move(targets), recorded, plain, options).run();
}

GradcheckReport gradcheck(const std::function<Variable(std::span<const Variable>)>& f,
                          const std::vector<Tensor>& inputs, const GradcheckOptions& options) {
  return gradcheck([&](std::span<const Variable> values) { return Outputs{f(values)}; }, inputs, options);
}

GradcheckReport gradcheck(const std::function<Outputs()>& f, const NamedLeaves& leaves,
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
  return Check(std::move(targets), f, f, options).run();
}

GradcheckReport gradcheck(const std::function<Variable()>& f, const NamedLeaves& leaves,
                          const GradcheckOptions& options) {
  return gradcheck([&] { return Outputs{f()}; }, leaves, options);
}

}  // namespace attune
