// What an optimizer saves, and what a step has found.

#include <algorithm>
#include <cmath>
#include <utility>

#include "autograd/optim/optimizer.h"
#include "framework/fail.h"
#include "framework/kernels/accumulate.h"

namespace attune {

NamedTensors Optimizer::state() const {
  NamedTensors state;
  state.emplace_back("learning_rate", Tensor::full({}, learning_rate_, DType::kFloat64));
  for (const Entry& entry : entries_) {
    state.emplace_back(entry.name + ".step", Tensor::from(std::vector<int64_t>{entry.steps}, {}));
    for (size_t k = 0; k < state_.size(); ++k) {
      if (entry.state[k].defined()) state.emplace_back(entry.name + "." + state_[k].name, entry.state[k]);
    }
  }
  if (rates_changed_) state.emplace_back("groups", rates_as_tensor());
  return state;
}

/// float64 [groups + 1, 2]: factor and weight decay, NaN for the optimizer's, which comes last.
Tensor Optimizer::rates_as_tensor() const {
  std::vector<double> numbers;
  for (const Rates& rates : rates_) {
    numbers.push_back(rates.learning_rate_factor);
    numbers.push_back(rates.weight_decay.value_or(std::numeric_limits<double>::quiet_NaN()));
  }
  numbers.back() = weight_decay_;
  return Tensor::from(numbers, {std::ssize(rates_), 2});
}

void Optimizer::load_rates(const Tensor& saved) {
  const std::vector<double> numbers = saved.to_vector<double>();
  for (size_t i = 0; i < rates_.size(); ++i) {
    const double decay = numbers[2 * i + 1];
    rates_[i].learning_rate_factor = valid_rate(numbers[2 * i], "learning rate factor");
    if (i + 1 == rates_.size()) {
      weight_decay_ = valid_rate(decay, "weight decay");
    } else if (std::isnan(decay)) {
      rates_[i].weight_decay.reset();
    } else {
      rates_[i].weight_decay = valid_rate(decay, "weight decay");
    }
  }
}

void Optimizer::load_state(const NamedTensors& given) {
  // Rates that were never changed are those of the options, and not in the state.
  rates_changed_ |= std::any_of(given.begin(), given.end(), [](const auto& entry) { return entry.first == "groups"; });
  NamedTensors own = state();
  if (rates_changed_ && std::none_of(given.begin(), given.end(), [](const auto& e) { return e.first == "groups"; })) {
    own.pop_back();
  }
  load_named_tensors(who_, own, given);
  if (own.back().first == "groups") load_rates(own.back().second);
  last_report_ = PendingCopy();
  last_results_ = PendingCopy();
  for (Flat& flat : flats_) flat.not_finite.fill_(-1);
  set_learning_rate(own.front().second.item());
  size_t next = 1;
  for (Entry& entry : entries_) {
    entry.steps = *own[next].second.data<int64_t>();
    next += 1;
    for (const Tensor& tensor : entry.state) next += tensor.defined() ? 1 : 0;
  }
}

void Optimizer::check_last_step() {
  const Tensor report = std::exchange(last_report_, PendingCopy()).get();
  const Tensor results = std::exchange(last_results_, PendingCopy()).get();
  if (report.defined()) {
    last_norm_ = norm_of(report);
    if (!std::isfinite(last_norm_)) {
      for (Entry& entry : entries_) entry.steps -= entry.stepped ? 1 : 0;
      fail_not_finite(report);
    }
  }
  if (!results.defined()) return;
  const auto* found = results.data<int64_t>();
  for (size_t i = 0; i < flats_.size(); ++i) require_finite_results(i, found + 2 * i);
}

/// Of a step that was waited for.
void Optimizer::check_results() {
  for (size_t i = 0; i < flats_.size(); ++i) {
    const Tensor found = flats_[i].not_finite.to(Device::cpu());
    require_finite_results(i, found.data<int64_t>());
  }
}

/// The parameter that has element `index` of flat buffer `flat`.
const Optimizer::Entry& Optimizer::entry_at(size_t flat, int64_t index) const {
  return *std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.flat == flat && index >= entry.begin && index < entry.end;
  });
}

/// found: what a step on flat buffer `index` found, GradientTransform::not_finite.
void Optimizer::require_finite_results(size_t index, const int64_t* found) {
  const int64_t gradient = found[0], result = found[1];
  if (gradient < 0 && result < 0) return;
  flats_[index].not_finite.fill_(-1);  // said once
  last_results_ = PendingCopy();
  const Entry& entry = entry_at(index, gradient >= 0 ? gradient : result);
  require<ValueError>(gradient < 0,
                      "{}: the gradient of parameter '{}' {} held NaN or infinity in its step {}, and the parameter "
                      "does now; clip_norm checks gradients before anything is changed, and AnomalyMode names the op "
                      "that made them",
                      who_, entry.name, entry.value.shape(), entry.steps);
  fail<ValueError>(
      "{}: parameter '{}' {}, or a moment of it, has become NaN or infinite in its step {} although the gradient was "
      "finite; the learning rate {} or the gradient is too large",
      who_, entry.name, entry.value.shape(), entry.steps, learning_rate_of(entry));
}

/// Where a value is not finite, no gradient is: the value is what is to be named.
void Optimizer::require_finite_values() const {
  for (const Entry& entry : entries_) {
    int64_t bad = -1;
    kernels::find_non_finite(entry.leaf->value, bad);
    require<ValueError>(bad < 0, "{}: parameter '{}' {} holds NaN or infinity, and so gradients do", who_, entry.name,
                        entry.value.shape());
  }
}

void Optimizer::fail_not_finite(const Tensor& report) const {
  require_finite_values();
  for (const Entry& entry : entries_) {
    const auto first = static_cast<int64_t>(report.data<double>()[2 * entry.flat + 1]);
    require<ValueError>(first < entry.begin || first >= entry.end,
                        "{}: the gradient of parameter '{}' {} holds NaN or infinity; AnomalyMode names the op that "
                        "made it",
                        who_, entry.name, entry.value.shape());
  }
  fail<ValueError>("{}: the norm of all gradients is not finite", who_);
}

}  // namespace attune
