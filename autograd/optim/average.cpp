#include "autograd/optim/average.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "framework/fail.h"

namespace attune {

AveragedParameters::AveragedParameters(const char* who, const ParameterList& parameters) : who_(who) {
  for (const auto& [name, parameter] : parameters.entries()) {
    Leaf& leaf = *parameter.leaf();
    leaf.value = leaf.value.contiguous();
    entries_.push_back({name, parameter.leaf(), Tensor::zeros_like(leaf.value)});
  }
}

void AveragedParameters::swap() {
  require<ValueError>(!empty(), "{}: there is nothing to swap in yet", who_);
  for (Entry& entry : entries_) {
    kernels::exchange(entry.leaf->value, entry.average);
    entry.leaf->value.bump_version();
  }
  swapped_ = !swapped_;
}

void AveragedParameters::require_not_swapped(const char* what) const {
  require<ValueError>(!swapped_, "{}: {} while the parameters hold the average; swap() back first", who_, what);
}

WeightAverage::WeightAverage(const ParameterList& parameters, double decay)
    : AveragedParameters("WeightAverage", parameters), decay_(decay) {
  require<ValueError>(decay >= 0 && decay <= 1, "WeightAverage: decay {} is outside 0 ... 1", decay);
}

void WeightAverage::update() {
  require_not_swapped("update()");
  ++updates_;
  const auto n = static_cast<double>(updates_);
  const double weights = decay_ == 1 ? n : (1 - std::pow(decay_, n)) / (1 - decay_);
  for (Entry& entry : entries_) kernels::move_average(entry.leaf->value, 1 / weights, entry.average);
}

NamedTensors WeightAverage::state() const {
  require_not_swapped("state()");
  NamedTensors state;
  state.emplace_back("updates", Tensor::from(std::vector<int64_t>{updates_}, {}));
  for (const Entry& entry : entries_) state.emplace_back(entry.name, entry.average);
  return state;
}

void WeightAverage::load_state(const NamedTensors& given) {
  const NamedTensors own = state();
  load_named_tensors("WeightAverage", own, given);
  updates_ = *own.front().second.data<int64_t>();
}

CheckpointAverage::CheckpointAverage(const ParameterList& parameters, const CheckpointAverageOptions& options)
    : AveragedParameters("CheckpointAverage", parameters), options_(options) {
  require<ValueError>(options.count >= 1, "CheckpointAverage: count is {}, expected at least 1", options.count);
  kept_.reserve(static_cast<size_t>(options.count));
}

bool CheckpointAverage::better(const Kept& a, const Kept& b) {
  return a.score != b.score ? a.score > b.score : a.loss < b.loss;
}

/// Memory for a copy: new, or that of the copy which is given up.
CheckpointAverage::Kept CheckpointAverage::make_room() {
  Kept kept;
  if (size() < options_.count) {
    for (const Entry& entry : entries_) kept.values.push_back(Tensor::empty_like(entry.average));
    return kept;
  }
  const auto worst =
      options_.keep == KeepCheckpoints::kLast
          ? kept_.begin()
          : std::min_element(kept_.begin(), kept_.end(), [](const Kept& a, const Kept& b) { return better(b, a); });
  kept = std::move(*worst);
  kept_.erase(worst);
  return kept;
}

bool CheckpointAverage::add(double score, double loss) {
  require_not_swapped("add()");
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Kept given;  // without values yet
  given.score = std::isnan(score) ? -kInfinity : score;
  given.loss = std::isnan(loss) ? kInfinity : loss;
  if (options_.keep == KeepCheckpoints::kBest && size() == options_.count &&
      std::all_of(kept_.begin(), kept_.end(), [&](const Kept& kept) { return better(kept, given); })) {
    return false;
  }
  Kept kept = make_room();
  kept.score = given.score;
  kept.loss = given.loss;
  for (size_t i = 0; i < entries_.size(); ++i) kept.values[i].copy_(entries_[i].leaf->value);
  kept_.push_back(std::move(kept));
  average();
  return true;
}

void CheckpointAverage::average() {
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (!kept_.empty()) entries_[i].average.copy_(kept_.front().values[i]);
    for (size_t k = 1; k < kept_.size(); ++k) {
      kernels::move_average(kept_[k].values[i], 1 / static_cast<double>(k + 1), entries_[i].average);
    }
  }
}

NamedTensors CheckpointAverage::state() const {
  require_not_swapped("state()");
  std::vector<double> scores, losses;
  NamedTensors state = {{"scores", Tensor()}, {"losses", Tensor()}};
  for (size_t k = 0; k < kept_.size(); ++k) {
    scores.push_back(kept_[k].score);
    losses.push_back(kept_[k].loss);
    for (size_t i = 0; i < entries_.size(); ++i) {
      state.emplace_back(fmt::format("{}.{}", k, entries_[i].name), kept_[k].values[i]);
    }
  }
  state[0].second = Tensor::from(scores, {size()});
  state[1].second = Tensor::from(losses, {size()});
  return state;
}

void CheckpointAverage::load_state(const NamedTensors& given) {
  require_not_swapped("load_state()");
  int64_t count = 0;
  bool losses_given = false;
  for (const auto& [name, tensor] : given) {
    if (name == "scores") count = tensor.numel();
    losses_given = losses_given || name == "losses";
  }
  require<ShapeError>(count <= options_.count, "CheckpointAverage: {} copies given, expected at most {}", count,
                      options_.count);
  std::vector<Kept> before = std::exchange(kept_, {});
  try {
    while (size() < count) kept_.push_back(make_room());
    const NamedTensors own = state();
    NamedTensors complete = given;
    if (!losses_given) complete.emplace_back("losses", Tensor::full({count}, HUGE_VAL, DType::kFloat64));
    load_named_tensors("CheckpointAverage", own, complete);
    const std::vector<double> scores = own[0].second.to_vector<double>();
    const std::vector<double> losses = own[1].second.to_vector<double>();
    for (size_t k = 0; k < kept_.size(); ++k) {
      kept_[k].score = scores[k];
      kept_[k].loss = losses[k];
    }
  } catch (...) {
    kept_ = std::move(before);
    throw;
  }
  average();
}

}  // namespace attune
