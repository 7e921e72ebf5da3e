#include "autograd/gradcheck/tally.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "autograd/gradcheck/kink.h"
#include "autograd/tape.h"
#include "framework/fail.h"

namespace attune::gradcheck_internal {
namespace {

/// WRONG before KINK before NOISE before OK.
int severity(GradientVerdict verdict) {
  switch (verdict) {
    case GradientVerdict::kOk:
      return 0;
    case GradientVerdict::kNoise:
      return 1;
    case GradientVerdict::kKink:
      return 2;
    case GradientVerdict::kWrong:
      break;
  }
  return 3;
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> out;
  for (std::string word; stream >> word;) out.push_back(word);
  return out;
}

}  // namespace

Tally::Tally(const std::string& name, const Shape& shape, const GradcheckOptions& options) {
  entry_.name = name;
  entry_.shape = shape;
  entry_.distances.assign(static_cast<size_t>(shape.numel()), std::numeric_limits<float>::quiet_NaN());
  for (const auto& [input, axes] : options.axes) {
    if (input == name) axes_ = words(axes);
  }
}

std::string Tally::named(const Shape& index) const {
  if (static_cast<int>(axes_.size()) != index.rank()) return index.to_string();
  std::string text;
  for (int axis = 0; axis < index.rank(); ++axis) {
    text += fmt::format("{}{}={}", axis == 0 ? "" : " ", axes_[static_cast<size_t>(axis)], index[axis]);
  }
  return text;
}

bool Tally::is_worse(GradientVerdict verdict, double distance) const {
  const int a = severity(verdict);
  const int b = severity(worst_verdict_);
  return a != b ? a > b : distance > farthest_;
}

void Tally::add(int64_t position, double analytic, const Finding& finding, double tolerance, double absolute) {
  const double exact = std::abs(analytic - finding.numeric);
  const double difference = std::isfinite(exact) ? exact : HUGE_VAL;
  const double size = std::max(std::abs(analytic), std::abs(finding.numeric));
  const double distance = std::isfinite(exact) ? exact / tolerance : HUGE_VAL;
  float& mark = entry_.distances[static_cast<size_t>(position)];
  const bool broke_rule = mark == HUGE_VALF;
  ++entry_.checked;
  switch (finding.verdict) {
    case GradientVerdict::kOk:
      break;
    case GradientVerdict::kWrong:
      if (!broke_rule) ++entry_.failed;
      break;
    case GradientVerdict::kNoise:
      ++entry_.noisy;
      break;
    case GradientVerdict::kKink:
      ++entry_.kinks;
      break;
  }
  entry_.max_absolute = std::max(entry_.max_absolute, difference);
  entry_.max_relative =
      std::max(entry_.max_relative, std::isfinite(exact) ? difference / std::max(size, absolute) : HUGE_VAL);
  if (!broke_rule) mark = static_cast<float>(distance);
  analytic_analytic_ += analytic * analytic;
  analytic_numeric_ += analytic * finding.numeric;
  numeric_numeric_ += finding.numeric * finding.numeric;
  difference_difference_ += difference * difference;
  tolerance_tolerance_ += tolerance * tolerance;
  if (is_worse(finding.verdict, distance)) {
    worst_verdict_ = finding.verdict;
    farthest_ = distance;
    entry_.worst_index = index_of(position, entry_.shape);
    entry_.worst = named(entry_.worst_index);
    entry_.analytic = analytic;
    entry_.numeric = finding.numeric;
    entry_.numeric_error = finding.error;
    entry_.tolerance = tolerance;
  }
}

void Tally::check_zeros(const GradcheckZeros& rule, const Tensor& gradient, const Tensor& where) {
  require<ShapeError>(where.defined() && where.shape() == entry_.shape && where.dtype() == DType::kBool,
                      "gradcheck: where the gradient of {} must be 0 ({}) is {}, expected bool {}", entry_.name,
                      rule.what, where, entry_.shape);
  const Tensor must = where.contiguous();
  const double* values = gradient.data<double>();
  if (rule.by_definition) defined_.resize(static_cast<size_t>(must.numel()));
  for (int64_t i = 0; i < must.numel(); ++i) {
    if (!must.data<bool>()[i]) continue;
    if (rule.by_definition) defined_[static_cast<size_t>(i)] = true;
    ++entry_.zeros;
    if (values[i] == 0) continue;
    float& mark = entry_.distances[static_cast<size_t>(i)];
    if (!(mark == HUGE_VALF)) ++entry_.failed;  // once, however many rules it breaks
    mark = HUGE_VALF;
    if (!is_worse(GradientVerdict::kWrong, HUGE_VAL)) continue;
    worst_verdict_ = GradientVerdict::kWrong;
    farthest_ = HUGE_VAL;
    entry_.worst_index = index_of(i, entry_.shape);
    entry_.worst = named(entry_.worst_index);
    entry_.analytic = values[i];
    entry_.numeric = 0;
    entry_.numeric_error = 0;
    entry_.tolerance = 0;
    entry_.note = "must be exactly 0: " + rule.what;
  }
}

void Tally::set_projected(double difference, double norm) {
  projected_ = true;
  entry_.checked = entry_.shape.numel();
  entry_.relative_difference = difference / norm;
  // Of vectors of equal norm, to which those of gradients that agree come close.
  entry_.cosine = 1 - entry_.relative_difference * entry_.relative_difference / 2;
}

GradcheckEntry Tally::finish() {
  entry_.verdict = entry_.failed > 0  ? GradientVerdict::kWrong
                   : entry_.kinks > 0 ? GradientVerdict::kKink
                   : entry_.noisy > 0 ? GradientVerdict::kNoise
                                      : GradientVerdict::kOk;
  if (!projected_) {
    const double norm = std::sqrt(numeric_numeric_);
    const double nothing = std::sqrt(tolerance_tolerance_);
    entry_.relative_difference = entry_.checked == 0 ? 0 : std::sqrt(difference_difference_) / std::max(norm, nothing);
    const double other_norm = std::sqrt(analytic_analytic_);
    if (norm > nothing || other_norm > nothing) {
      const double norms = norm * other_norm;
      entry_.cosine = norms > 0 ? analytic_numeric_ / norms : 0;
    }
  }
  return std::move(entry_);
}

Tensor gradient_of(const Variable& leaf) {
  const Tensor held = leaf.grad();
  if (!held.defined()) return Tensor::zeros(leaf.shape(), DType::kFloat64);
  return held.to(Device::cpu()).to(DType::kFloat64).contiguous();
}

void check_zeros(const std::vector<GradcheckZeros>& rules, const NamedLeaves& leaves, std::vector<Tally>& tallies,
                 const std::function<Variable(const std::vector<Tensor>& counted)>& record) {
  for (const GradcheckZeros& rule : rules) {
    Tape::current().clear();
    for (const auto& named : leaves) Variable(named.second).zero_grad();
    const Variable root = record(rule.outputs);
    if (root.requires_grad()) root.backward();
    for (const auto& [name, where] : rule.leaves) {
      const auto found =
          std::find_if(leaves.begin(), leaves.end(), [&n = name](const auto& l) { return l.first == n; });
      require<ValueError>(found != leaves.end(), "gradcheck: {} must be 0 ({}), but nothing of that name is checked",
                          name, rule.what);
      tallies[static_cast<size_t>(found - leaves.begin())].check_zeros(rule, gradient_of(found->second), where);
    }
  }
}

}  // namespace attune::gradcheck_internal
