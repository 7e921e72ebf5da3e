#include "autograd/optim/average.h"

#include <cmath>

#include "framework/fail.h"

namespace attune {

WeightAverage::WeightAverage(const ParameterList& parameters, double decay) : decay_(decay) {
  require<ValueError>(decay >= 0 && decay <= 1, "WeightAverage: decay {} is outside 0 ... 1", decay);
  for (const auto& [name, parameter] : parameters.entries()) {
    Leaf& leaf = *parameter.leaf();
    leaf.value = leaf.value.contiguous();
    entries_.push_back({name, parameter.leaf(), Tensor::zeros_like(leaf.value)});
  }
}

void WeightAverage::update() {
  require_not_swapped("update()");
  ++updates_;
  const auto n = static_cast<double>(updates_);
  const double weights = decay_ == 1 ? n : (1 - std::pow(decay_, n)) / (1 - decay_);
  for (Entry& entry : entries_) kernels::move_average(entry.leaf->value, 1 / weights, entry.average);
}

void WeightAverage::swap() {
  require<ValueError>(updates_ > 0, "WeightAverage: there is nothing to swap in before the first update()");
  for (Entry& entry : entries_) {
    kernels::exchange(entry.leaf->value, entry.average);
    entry.leaf->value.bump_version();
  }
  swapped_ = !swapped_;
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

void WeightAverage::require_not_swapped(const char* what) const {
  require<ValueError>(!swapped_, "WeightAverage: {} while the parameters hold the average; swap() back first", what);
}

}  // namespace attune
