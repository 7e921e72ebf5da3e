#include "autograd/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <utility>

#include "framework/fail.h"
#include "framework/kernels/copy.h"

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
  require<ValueError>(!entries_.empty(), "optimizer: there are no parameters");
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
                     std::vector<const char*> moments)
    : who_(who), learning_rate_(0), moments_(std::move(moments)) {
  set_learning_rate(options.learning_rate);
  const auto valid_decay = [&](double decay) {
    require<ValueError>(decay >= 0 && std::isfinite(decay), "{}: weight decay {} is not a finite number >= 0", who_,
                        decay);
    return decay;
  };
  valid_decay(options.weight_decay);
  for (const ParameterGroup& group : options.groups) {
    require<ValueError>(static_cast<bool>(group.contains),
                        "{}: a parameter group says not which parameters it contains", who_);
    require<ValueError>(group.learning_rate_factor >= 0 && std::isfinite(group.learning_rate_factor),
                        "{}: learning rate factor {} is not a finite number >= 0", who_, group.learning_rate_factor);
  }
  std::vector<size_t> group_of;
  for (const auto& [name, parameter] : parameters.entries()) {
    require<DTypeError>(parameter.dtype() == DType::kFloat32 || parameter.dtype() == DType::kFloat64,
                        "{}: parameter '{}' is {}, expected float32 or float64", who_, name, parameter.value());
    Entry& entry = entries_.emplace_back();
    entry.name = name;
    entry.leaf = parameter.leaf();
    entry.weight_decay = options.weight_decay;
    size_t group = 0;
    while (group < options.groups.size() && !options.groups[group].contains(name, parameter)) ++group;
    if (group < options.groups.size()) {
      entry.learning_rate_factor = options.groups[group].learning_rate_factor;
      entry.weight_decay = valid_decay(options.groups[group].weight_decay.value_or(options.weight_decay));
    }
    group_of.push_back(group);
  }
  lay_out(group_of);
}

/// Parameters of one group lie side by side, so that a step has few ranges.
void Optimizer::lay_out(const std::vector<size_t>& group_of) {
  for (Entry& entry : entries_) order_.push_back(&entry);
  std::stable_sort(order_.begin(), order_.end(), [&](const Entry* a, const Entry* b) {
    return group_of[static_cast<size_t>(a - entries_.data())] < group_of[static_cast<size_t>(b - entries_.data())];
  });
  std::vector<int64_t> lengths;
  std::vector<const Tensor*> samples;
  for (Entry* entry : order_) {
    const Tensor& value = entry->leaf->value;
    while (entry->flat < samples.size() &&
           (samples[entry->flat]->dtype() != value.dtype() || samples[entry->flat]->device() != value.device())) {
      ++entry->flat;
    }
    if (entry->flat == samples.size()) {
      samples.push_back(&value);
      lengths.push_back(0);
    }
    int64_t& length = lengths[entry->flat];
    entry->begin = length;
    length += (value.numel() + kFlatAlignment - 1) / kFlatAlignment * kFlatAlignment;
    entry->end = length;
  }
  for (size_t i = 0; i < samples.size(); ++i) {
    Flat& flat = flats_.emplace_back();
    const auto buffer = [&] { return Tensor::zeros({lengths[i]}, samples[i]->dtype(), samples[i]->device()); };
    flat.value = buffer();
    flat.gradient = buffer();
    for (size_t k = 0; k < moments_.size(); ++k) flat.moments.push_back(buffer());
    flat.ranges.reserve(entries_.size());
  }
  const Device first = samples.front()->device();
  waits_ = first.is_cpu() ||
           std::any_of(samples.begin(), samples.end(), [&](const Tensor* sample) { return sample->device() != first; });
  for (Entry& entry : entries_) {
    entry.value = piece(flats_[entry.flat].value, entry);
    entry.gradient = piece(flats_[entry.flat].gradient, entry);
    take(entry);
  }
}

Tensor Optimizer::piece(const Tensor& flat, const Entry& entry) const {
  const Shape& shape = entry.leaf->value.shape();
  return flat.as_strided(shape, contiguous_strides(shape), entry.begin);
}

/// Makes the leaf's value and gradient views of the flat buffers. Either it holds a gradient, or the buffer is new and
/// zero: its gradient state stays true.
void Optimizer::take(Entry& entry) {
  Leaf& leaf = *entry.leaf;
  if (leaf.value.raw() != entry.value.raw() || leaf.value.dtype() != entry.value.dtype()) {
    require<ShapeError>(leaf.value.shape() == entry.value.shape() && leaf.value.dtype() == entry.value.dtype(),
                        "{}: parameter '{}' was {} when the optimizer was made and is {} now; make a new optimizer",
                        who_, entry.name, entry.value, leaf.value);
    kernels::copy(leaf.value, entry.value);
    leaf.value = entry.value;
  }
  if (leaf.grad.raw() == entry.gradient.raw()) return;
  if (leaf.grad_state == Leaf::GradState::kHeld) kernels::copy(leaf.grad, entry.gradient);
  leaf.grad = entry.gradient;
}

/// What the next step has to do, in as few ranges as possible.
void Optimizer::collect_ranges() {
  for (Flat& flat : flats_) flat.ranges.clear();
  for (Entry* entry : order_) {
    if (!entry->trains()) continue;
    take(*entry);
    FlatRange next{entry->begin,        entry->end,
                   entry->steps + 1,    learning_rate_ * entry->learning_rate_factor,
                   entry->weight_decay, entry->leaf->scattered};
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

namespace {

/// The norm in a report on the host.
double norm_of(const Tensor& report) { return report.select(0, report.dim(0) - 1).data<double>()[0]; }

}  // namespace

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

/// What forward passes have rounded to bfloat16 changes with the values: all of it at once, in memory that stays.
void Optimizer::round_again(size_t index) {
  Flat& flat = flats_[index];
  const auto wants = [&](const Entry& entry) {
    return entry.flat == index && entry.leaf->rounded.value.defined() && entry.leaf->value.raw() == entry.value.raw();
  };
  if (std::none_of(entries_.begin(), entries_.end(), wants)) return;
  if (!flat.rounded.defined()) {
    flat.rounded = Tensor::empty(flat.value.shape(), DType::kBFloat16, flat.value.device());
  }
  flat.rounded.copy_(flat.value);
  for (Entry& entry : entries_) {
    if (!wants(entry)) continue;
    entry.leaf->rounded = {entry.value, entry.value.version(), piece(flat.rounded, entry)};
  }
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
    update(flat, transform);
    flat.value.bump_version();
    round_again(i);
  }
  for (Entry& entry : entries_) {
    entry.stepped = entry.trains();
    if (!entry.stepped) continue;
    ++entry.steps;
    entry.leaf->grad_state = entry.leaf->scattered ? Leaf::GradState::kZero : Leaf::GradState::kEmpty;
  }
  return norm;
}

void Optimizer::check_last_step() {
  const Tensor report = std::exchange(last_report_, PendingCopy()).get();
  if (!report.defined()) return;
  last_norm_ = norm_of(report);
  if (std::isfinite(last_norm_)) return;
  for (Entry& entry : entries_) entry.steps -= entry.stepped ? 1 : 0;
  fail_not_finite(report);
}

void Optimizer::fail_not_finite(const Tensor& report) const {
  for (const Entry& entry : entries_) {
    const auto first = static_cast<int64_t>(report.data<double>()[2 * entry.flat + 1]);
    require<ValueError>(first < entry.begin || first >= entry.end,
                        "{}: the gradient of parameter '{}' {} holds NaN or infinity; AnomalyMode names the op that "
                        "made it",
                        who_, entry.name, entry.value.shape());
  }
  fail<ValueError>("{}: the norm of all gradients is not finite", who_);
}

void Optimizer::zero_grad() {
  for (Entry& entry : entries_) {
    if (entry.leaf->grad_state == Leaf::GradState::kHeld) entry.leaf->grad_state = Leaf::GradState::kEmpty;
  }
}

void Optimizer::set_learning_rate(double learning_rate) {
  require<ValueError>(learning_rate >= 0 && std::isfinite(learning_rate),
                      "{}: learning rate {} is not a finite number >= 0", who_, learning_rate);
  learning_rate_ = learning_rate;
}

NamedTensors Optimizer::state() const {
  NamedTensors state;
  state.emplace_back("learning_rate", Tensor::full({}, learning_rate_, DType::kFloat64));
  for (const Entry& entry : entries_) {
    state.emplace_back(entry.name + ".step", Tensor::from(std::vector<int64_t>{entry.steps}, {}));
    for (size_t k = 0; k < moments_.size(); ++k) {
      state.emplace_back(entry.name + "." + moments_[k], piece(flats_[entry.flat].moments[k], entry));
    }
  }
  return state;
}

void Optimizer::load_state(const NamedTensors& given) {
  const NamedTensors own = state();
  load_named_tensors(who_, own, given);
  last_report_ = PendingCopy();
  set_learning_rate(own.front().second.item());
  size_t next = 1;
  for (Entry& entry : entries_) {
    entry.steps = *own[next].second.data<int64_t>();
    next += 1 + moments_.size();
  }
}

}  // namespace attune
