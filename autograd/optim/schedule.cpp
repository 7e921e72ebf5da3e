#include "autograd/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "framework/fail.h"

namespace attune {

double InverseSquareRootSchedule::at(int64_t step) const {
  const auto s = static_cast<double>(step + 1);
  const auto w = static_cast<double>(std::max<int64_t>(warmup, 1));
  return peak * std::min(s / w, std::sqrt(w / s));
}

double CosineSchedule::at(int64_t step) const {
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (step >= total) return final;
  const double progress = static_cast<double>(step - warmup) / static_cast<double>(total - warmup);
  return final + (peak - final) * (1 + std::cos(std::numbers::pi * progress)) / 2;
}

double StepSchedule::at(int64_t step) const {
  require<ValueError>(every >= 1, "StepSchedule: a fall every {} steps, expected 1 or more", every);
  const int64_t falls = step / every;
  return initial * std::pow(factor, static_cast<double>(falls));
}

ReduceOnPlateau::ReduceOnPlateau(const PlateauOptions& options)
    : options_(options), rate_(options.initial), best_(options.higher_is_better ? -HUGE_VAL : HUGE_VAL) {
  require<ValueError>(options.factor > 0 && options.factor < 1, "ReduceOnPlateau: factor {} is outside 0 ... 1",
                      options.factor);
}

void ReduceOnPlateau::observe(double metric) {
  // The threshold is a fraction of the best value's size; an infinite best is beaten by any number.
  const double margin = std::isfinite(best_) ? options_.threshold * std::abs(best_) : 0;
  const bool better = options_.higher_is_better ? metric > best_ + margin : metric < best_ - margin;
  if (better) {
    best_ = metric;
    waited_ = 0;
  } else {
    ++waited_;
  }
  if (cooling_ > 0) {
    --cooling_;
    waited_ = 0;
  }
  if (waited_ > options_.patience) {
    // A rate that is below the minimum already stays what it is.
    rate_ = std::min(rate_, std::max(rate_ * options_.factor, options_.minimum));
    cooling_ = options_.cooldown;
    waited_ = 0;
  }
}

NamedTensors ReduceOnPlateau::state() const {
  const auto scalar = [](double value) { return Tensor::full({}, value, DType::kFloat64); };
  return {{"rate", scalar(rate_)},
          {"best", scalar(best_)},
          {"waited", scalar(static_cast<double>(waited_))},
          {"cooling", scalar(static_cast<double>(cooling_))}};
}

void ReduceOnPlateau::load_state(const NamedTensors& given) {
  const NamedTensors own = state();
  load_named_tensors("ReduceOnPlateau", own, given);
  rate_ = own[0].second.item();
  best_ = own[1].second.item();
  waited_ = static_cast<int64_t>(own[2].second.item());
  cooling_ = static_cast<int64_t>(own[3].second.item());
}

}  // namespace attune
