#include "autograd/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "framework/fail.h"
#include "framework/math/arithmetic.h"
#include "framework/math/compare.h"

namespace attune {

ParameterList::ParameterList(const Entries& parameters) {
  std::unordered_set<const Leaf*> leaves;
  std::unordered_set<std::string> names;
  for (const auto& [name, parameter] : parameters) {
    require<ValueError>(parameter.is_leaf(), "optimizer: parameter '{}' is not a leaf that requires a gradient", name);
    if (!leaves.insert(parameter.leaf().get()).second) continue;
    require<ValueError>(names.insert(name).second, "optimizer: two parameters are named '{}'", name);
    entries_.emplace_back(name, parameter);
  }
  require<ValueError>(
      !entries_.empty(),
      "optimizer: the list of parameters is empty, expected one at least; give a module's named_parameters()");
}

namespace {

ParameterList::Entries with_names(const std::vector<Variable>& parameters) {
  ParameterList::Entries entries;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const LeafRef& leaf = parameters[i].leaf();
    entries.emplace_back(leaf && !leaf->name.empty() ? leaf->name : fmt::format("parameter{}", i), parameters[i]);
  }
  return entries;
}

}  // namespace

ParameterList::ParameterList(const std::vector<Variable>& parameters) : ParameterList(with_names(parameters)) {}

ParameterGroup no_decay_of_vectors() {
  return {.contains = [](const std::string&, const Variable& parameter) { return parameter.rank() <= 1; },
          .weight_decay = 0};
}

Optimizer::Optimizer(const char* who, const ParameterList& parameters, const Common& options,
                     std::vector<StateTensor> state)
    : who_(who), state_(std::move(state)) {
  set_learning_rate(options.learning_rate);
  weight_decay_ = valid_rate(options.weight_decay, "weight decay");
  for (const ParameterGroup& group : options.groups) {
    require<ValueError>(static_cast<bool>(group.contains),
                        "{}: a parameter group says not which parameters it contains", who_);
    Rates& rates = rates_.emplace_back();
    rates.learning_rate_factor = valid_rate(group.learning_rate_factor, "learning rate factor");
    if (group.weight_decay) rates.weight_decay = valid_rate(*group.weight_decay, "weight decay");
  }
  rates_.emplace_back();
  for (const auto& [name, parameter] : parameters.entries()) {
    require<DTypeError>(parameter.dtype() == DType::kFloat32 || parameter.dtype() == DType::kFloat64,
                        "{}: parameter '{}' is {}, expected float32 or float64", who_, name, parameter.value());
    Entry& entry = entries_.emplace_back();
    entry.name = name;
    entry.leaf = parameter.leaf();
    while (entry.group < options.groups.size() && !options.groups[entry.group].contains(name, parameter)) ++entry.group;
  }
  lay_out();
}

double Optimizer::valid_rate(double rate, const char* what) const {
  require<ValueError>(rate >= 0 && std::isfinite(rate), "{}: {} {} is not a finite number >= 0", who_, what, rate);
  return rate;
}

double Optimizer::learning_rate_of(const Entry& entry) const {
  return learning_rate_ * rates_[entry.group].learning_rate_factor;
}

double Optimizer::weight_decay_of(const Entry& entry) const {
  return rates_[entry.group].weight_decay.value_or(weight_decay_);
}

/// What the next step has to do, in as few ranges as possible.
void Optimizer::collect_ranges() {
  for (Flat& flat : flats_) flat.ranges.clear();
  for (Entry* entry : order_) {
    if (!entry->trains()) continue;
    take(*entry);
    FlatRange next{
        entry->begin,          entry->end, entry->steps + 1, learning_rate_of(*entry), weight_decay_of(*entry),
        entry->leaf->scattered};
    std::vector<FlatRange>& ranges = flats_[entry->flat].ranges;
    if (!ranges.empty()) {
      FlatRange& last = ranges.back();
      if (last.end == next.begin && last.step == next.step && last.learning_rate == next.learning_rate &&
          last.weight_decay == next.weight_decay && last.zero_gradient == next.zero_gradient) {
        last.end = next.end;
        continue;
      }
    }
    ranges.push_back(next);
  }
}

/// The norm in a report on the host.
double Optimizer::norm_of(const Tensor& report) { return report.select(0, report.dim(0) - 1).data<double>()[0]; }

/// What sum_squares finds in each of the flat buffers, and what clip_by_norm makes of it: float64 [flats + 1, 2], where
/// all parameters are, or else on the CPU.
Tensor Optimizer::report_of_ranges(double scale, double limit) const {
  const Device device = waits_ ? Device::cpu() : flats_.front().value.device();
  Tensor report = Tensor::empty({static_cast<int64_t>(flats_.size()) + 1, 2}, DType::kFloat64, device);
  for (size_t i = 0; i < flats_.size(); ++i) {
    Tensor row = report.select(0, static_cast<int64_t>(i));
    if (flats_[i].value.device() == device) {
      kernels::sum_squares(flats_[i].gradient, flats_[i].ranges, row);
      continue;
    }
    Tensor there = Tensor::empty({2}, DType::kFloat64, flats_[i].value.device());
    kernels::sum_squares(flats_[i].gradient, flats_[i].ranges, there);
    row.copy_(there);
  }
  kernels::clip_by_norm(scale, limit, report);
  return report;
}

double Optimizer::gradient_norm() {
  collect_ranges();
  return norm_of(report_of_ranges(1, 1).to(Device::cpu()));
}

/// Lets `transform` scale and clip. Returns the norm that is known.
double Optimizer::clip(const StepOptions& options, GradientTransform& transform) {
  const Tensor report = report_of_ranges(options.gradient_scale, options.clip_norm);
  const Tensor factor = report.select(0, report.dim(0) - 1).slice(0, 1, 2);
  if (waits_) {
    const double norm = norm_of(report);
    if (!std::isfinite(norm)) fail_not_finite(report);
    transform.scale = *factor.data<double>();
    return norm;
  }
  transform.scale_there = factor;
  last_report_ = PendingCopy(report);
  return last_norm_;
}

double Optimizer::step(const StepOptions& options) {
  require<ValueError>(options.clip_norm >= 0 && options.clip_value >= 0,
                      "{}: clip_norm {} and clip_value {} must be >= 0 (0: off)", who_, options.clip_norm,
                      options.clip_value);
  check_last_step();
  collect_ranges();
  GradientTransform transform{.scale = options.gradient_scale};
  const double norm = options.clip_norm > 0 ? clip(options, transform) : 0;
  if (options.clip_value > 0) transform.limit = options.clip_value;
  for (size_t i = 0; i < flats_.size(); ++i) {
    Flat& flat = flats_[i];
    if (flat.ranges.empty()) continue;
    transform.not_finite = flat.not_finite;
    update_flat(flat, transform);
    for (Entry& entry : entries_) {
      if (entry.flat == i && entry.trains()) entry.leaf->value.bump_version();
    }
    round_again(i);
  }
  for (Entry& entry : entries_) {
    entry.stepped = entry.trains();
    if (!entry.stepped) continue;
    ++entry.steps;
    entry.leaf->grad_state = entry.leaf->scattered ? Leaf::GradState::kZero : Leaf::GradState::kEmpty;
  }
  if (waits_) {
    check_results();
  } else {
    last_results_ = PendingCopy(not_finite_);
  }
  return norm;
}

Tensor ParameterUpdate::penalized_grad() const { return weight_decay == 0 ? grad : grad + weight_decay * value; }

void Optimizer::check_betas(std::initializer_list<double> betas) const {
  int number = 0;
  for (const double beta : betas) {
    ++number;
    require<ValueError>(beta >= 0 && beta < 1, "{}: beta{} is {}, expected 0 <= beta < 1", who_, number, beta);
  }
}

void Optimizer::update(ParameterUpdate&) { fail<ValueError>("{}: the optimizer has no update()", who_); }

void Optimizer::update_flat(Flat& flat, const GradientTransform& transform) {
  // The index of the first element that is not finite, or -1: int64 [1], which is not waited for.
  const auto first_not_finite = [&flat](const Tensor& x) {
    Tensor found = Tensor::empty({2}, DType::kFloat64, x.device());
    kernels::sum_squares(x, flat.ranges, found);
    return found.slice(0, 1, 2).to(DType::kInt64);
  };
  const double scale = transform.scale_there.defined() ? transform.scale_there.item() : transform.scale;
  if (std::isnan(scale)) {
    for (const Entry& entry : entries_) zero_scattered(entry, flat);
    return;
  }
  Tensor gradient = scale == 1 ? flat.gradient : flat.gradient * scale;
  if (std::isfinite(transform.limit)) gradient = clamp(gradient, -transform.limit, transform.limit);
  flat.not_finite.slice(0, 0, 1).copy_(first_not_finite(gradient));
  for (Entry& entry : entries_) {
    if (&flats_[entry.flat] != &flat || !entry.trains()) continue;
    ParameterUpdate p{entry.value,     piece(gradient, entry),  entry.state,
                      entry.steps + 1, learning_rate_of(entry), weight_decay_of(entry)};
    update(p);
    zero_scattered(entry, flat);
  }
  Tensor result = first_not_finite(flat.value);
  for (const Tensor& moment : flat.moments) {
    if (moment.defined()) result = where(result < 0, first_not_finite(moment), result);
  }
  flat.not_finite.slice(0, 1, 2).copy_(result);
}

/// The next backward() scatters into zeros.
void Optimizer::zero_scattered(const Entry& entry, const Flat& flat) {
  if (&flats_[entry.flat] == &flat && entry.trains() && entry.leaf->scattered) Tensor(entry.gradient).zero_();
}

void Optimizer::zero_grad() {
  for (Entry& entry : entries_) {
    if (entry.leaf->grad_state == Leaf::GradState::kHeld) entry.leaf->grad_state = Leaf::GradState::kEmpty;
  }
}

void Optimizer::set_learning_rate(double learning_rate) { learning_rate_ = valid_rate(learning_rate, "learning rate"); }

void Optimizer::set_weight_decay(double weight_decay) {
  weight_decay_ = valid_rate(weight_decay, "weight decay");
  rates_changed_ = true;
}

Optimizer::Rates& Optimizer::rates(size_t group) {
  require<ValueError>(group + 1 < rates_.size(), "{}: there is no group {}, only {}", who_, group, rates_.size() - 1);
  rates_changed_ = true;
  return rates_[group];
}

void Optimizer::set_group_learning_rate_factor(size_t group, double factor) {
  rates(group).learning_rate_factor = valid_rate(factor, "learning rate factor");
}

void Optimizer::set_group_weight_decay(size_t group, double weight_decay) {
  rates(group).weight_decay = valid_rate(weight_decay, "weight decay");
}

}  // namespace attune
