#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/gradcheck.h"
#include "autograd/gradcheck/tally.h"
#include "autograd/gradcheck/weights.h"
#include "autograd/tape_hook.h"
#include "framework/fail.h"

namespace attune {
namespace {

using gradcheck_internal::Finding;
using gradcheck_internal::gradient_of;
using gradcheck_internal::OutputWeights;
using gradcheck_internal::Tally;

constexpr double kLambda = 8;
constexpr double kComparable = 0.75;  // share of the elements that must not be noise
constexpr int kRoundings = 6;         // random ones, where both are asked again
constexpr double kUlps = 4;           // how far they reach, in units of roundoff

/// Largest deviation from 1 of a product of n factors 1 + e, |e| <= u, of mean 0.
double gamma(double n, double u) { return std::expm1(kLambda * std::sqrt(n) * u + n * u * u / (1 - u)); }

double unit_roundoff(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return 0x1p-24;
    case DType::kBFloat16:
      return 0x1p-8;
    default:
      return 0x1p-53;
  }
}

DType coarser(DType a, DType b) { return unit_roundoff(a) < unit_roundoff(b) ? b : a; }

double largest(const Tensor& x) {
  double most = 0;
  const Tensor wide = x.to(Device::cpu()).to(DType::kFloat64).contiguous();
  const double* values = wide.data<double>();
  for (int64_t i = 0; i < wide.numel(); ++i) {
    if (std::isfinite(values[i])) most = std::max(most, std::abs(values[i]));
  }
  return most;
}

/// How many roundings there were, and how large gradients became on their way.
struct Roundings {
  int64_t of_sums = 0;
  int64_t of_results = 0;
  double largest_gradient = 0;

  /// Relative to the scale of a gradient.
  double bound(DType dtype) const {
    const DType arithmetic = dtype == DType::kBFloat16 ? DType::kFloat32 : dtype;
    return gamma(static_cast<double>(of_sums), unit_roundoff(arithmetic)) +
           gamma(static_cast<double>(of_results), unit_roundoff(dtype));
  }
};

/// Counts them.
class RoundingCounter : public TapeHook {
 public:
  void computed(const char*, std::span<const Variable* const> inputs, std::span<const Tensor* const> outputs) override {
    int64_t longest = 1;
    bool view = false;
    const auto measure = [&](const Tensor& x) {
      if (x.rank() == 0 || x.numel() == 0) return;
      longest = std::max({longest, x.dim(-1), x.numel() / x.dim(-1)});
    };
    for (const Variable* x : inputs) {
      if (!x->defined()) continue;
      measure(x->value());
      for (const Tensor* y : outputs) view |= y->storage().get() == x->value().storage().get();
    }
    for (const Tensor* y : outputs) measure(*y);
    if (view) return;  // computes nothing
    found_.of_sums += 2 * longest;
    found_.of_results += 2;
  }

  void backward(BackwardStep& step) override {
    for (int i = 0; i < step.outputs(); ++i) {
      if (step.dy(i).defined()) found_.largest_gradient = std::max(found_.largest_gradient, largest(step.dy(i)));
    }
    step.run();
  }

  const Roundings& found() const { return found_; }

 private:
  Roundings found_;
};

/// coarsest: the dtype of the largest rounding errors, among what goes in and what comes out.
std::vector<Tensor> gradients(const GradcheckSubject& subject, OutputWeights& weights, DType& coarsest) {
  Tape::current().clear();
  coarsest = DType::kFloat64;
  for (const auto& [name, leaf] : subject.leaves) coarsest = coarser(coarsest, leaf.dtype());
  for (const auto& named : subject.leaves) Variable(named.second).zero_grad();
  const std::vector<Variable> outputs = subject.f();
  for (const Variable& y : outputs) coarsest = coarser(coarsest, y.dtype());
  std::vector<double> unused;
  weights.apply(outputs, unused);
  const Variable root = weights.record(outputs);
  if (root.requires_grad()) root.backward();
  std::vector<Tensor> out;
  for (const auto& [name, leaf] : subject.leaves) out.push_back(gradient_of(leaf).clone());
  return out;
}

using Values = std::vector<std::vector<double>>;

/// got - wanted, by leaf.
Values differences(const std::vector<Tensor>& got, const std::vector<Tensor>& wanted) {
  Values out;
  for (size_t i = 0; i < got.size(); ++i) {
    out.emplace_back(static_cast<size_t>(got[i].numel()));
    for (size_t j = 0; j < out[i].size(); ++j) out[i][j] = got[i].data<double>()[j] - wanted[i].data<double>()[j];
  }
  return out;
}

/// By how much the difference between subject and reference changes when the operands of both move by a few units in
/// their last place: rounding errors change like dice, and jump at kinks; what is wrong stays wrong by the same.
Values noise_of_difference(const GradcheckSubject& reference, const GradcheckSubject& subject, OutputWeights& weights,
                           const Values& at_rest, uint64_t seed, DType dtype) {
  std::vector<Tensor> values;
  Values most;
  for (size_t i = 0; i < at_rest.size(); ++i) {
    values.push_back(reference.leaves[i].second.value().clone());
    most.emplace_back(at_rest[i].size());
  }
  const auto set = [&](size_t i, const Tensor& value) {
    Tensor judged = subject.leaves[i].second.value();
    judged.copy_(value.to(judged.dtype()).to(judged.device()));
    Tensor(reference.leaves[i].second.value()).copy_(judged.to(Device::cpu()));
  };
  RandomStream random(seed);
  for (int k = 0; k < kRoundings; ++k) {
    for (size_t i = 0; i < values.size(); ++i) {
      Tensor moved = values[i].clone();
      const double step = kUlps * unit_roundoff(dtype);
      for (int64_t j = 0; j < moved.numel(); ++j) moved.data<double>()[j] *= 1 + step * (2 * random.uniform() - 1);
      set(i, moved);
    }
    DType unused{};
    const std::vector<Tensor> wanted = gradients(reference, weights, unused);
    const Values moved = differences(gradients(subject, weights, unused), wanted);
    for (size_t i = 0; i < most.size(); ++i) {
      for (size_t j = 0; j < most[i].size(); ++j)
        most[i][j] = std::max(most[i][j], std::abs(moved[i][j] - at_rest[i][j]));
    }
  }
  for (size_t i = 0; i < values.size(); ++i) set(i, values[i]);
  return most;
}

void check_subjects(const GradcheckSubject& reference, const GradcheckSubject& subject) {
  require<ValueError>(!subject.leaves.empty() && reference.leaves.size() == subject.leaves.size(),
                      "gradcheck: the reference has {} leaves and what is judged {}, expected as many and at least one",
                      reference.leaves.size(), subject.leaves.size());
  for (size_t i = 0; i < subject.leaves.size(); ++i) {
    const auto& [name, judge] = reference.leaves[i];
    const Variable& leaf = subject.leaves[i].second;
    require<DTypeError>(judge.dtype() == DType::kFloat64 && judge.device().is_cpu() && judge.value().is_contiguous(),
                        "gradcheck: {} of the reference is {}, expected contiguous float64 on cpu", name,
                        judge.value());
    require<ShapeError>(name == subject.leaves[i].first && judge.shape() == leaf.shape(),
                        "gradcheck: leaf {} is {} {} in the reference and {} {} in what is judged", i, name,
                        judge.shape(), subject.leaves[i].first, leaf.shape());
    require<ValueError>(judge.requires_grad() && leaf.requires_grad(), "gradcheck: {} requires no gradient", name);
  }
}

}  // namespace

GradcheckReport gradcheck_against_float64(const GradcheckSubject& reference, const GradcheckSubject& subject,
                                          const GradcheckOptions& options) {
  check_subjects(reference, subject);
  OutputWeights weights(options.seed, DType::kFloat64);
  DType dtype{};
  std::vector<Tensor> wanted;
  Roundings roundings;
  {
    RoundingCounter counter;
    wanted = gradients(reference, weights, dtype);
    roundings = counter.found();
  }
  const std::vector<Tensor> got = gradients(subject, weights, dtype);
  const double bound = roundings.bound(dtype);
  const Values difference = differences(got, wanted);

  std::vector<Tally> tallies;
  for (const auto& [name, leaf] : subject.leaves) tallies.emplace_back(name, leaf.shape(), options);
  gradcheck_internal::check_zeros(options.zeros, subject.leaves, tallies, [&](const std::vector<Tensor>& counted) {
    return weights.record(subject.f(), counted);
  });

  Values noise;
  GradcheckReport report;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const double size = std::max({roundings.largest_gradient, largest(wanted[i]), std::numeric_limits<double>::min()});
    for (int64_t j = 0; j < wanted[i].numel(); ++j) {
      if (tallies[i].is_defined_zero(j)) continue;
      const auto index = static_cast<size_t>(j);
      const double apart = std::abs(difference[i][index]);
      double tolerance = bound * size;
      Finding finding{GradientVerdict::kOk, wanted[i].data<double>()[j], 0};
      if (!(apart <= tolerance)) {
        if (noise.empty()) noise = noise_of_difference(reference, subject, weights, difference, options.seed, dtype);
        finding.error = noise[i][index];
        const double explained = 4 * finding.error;
        if (!(apart <= tolerance + explained)) {
          finding.verdict = GradientVerdict::kWrong;
        } else if (apart <= std::sqrt(unit_roundoff(dtype)) * size) {
          tolerance += explained;
        } else {
          finding.verdict = GradientVerdict::kNoise;
        }
      }
      tallies[i].add(j, got[i].data<double>()[j], finding, tolerance, tolerance);
    }
    GradcheckEntry entry = tallies[i].finish();
    const auto comparable = static_cast<double>(entry.checked - entry.noisy);
    if (entry.verdict == GradientVerdict::kNoise && comparable >= kComparable * static_cast<double>(entry.checked)) {
      entry.verdict = GradientVerdict::kOk;
    }
    report.ok &= entry.ok();
    report.entries.push_back(std::move(entry));
    Variable(subject.leaves[i].second).zero_grad();
    Variable(reference.leaves[i].second).zero_grad();
  }
  return report;
}

}  // namespace attune
