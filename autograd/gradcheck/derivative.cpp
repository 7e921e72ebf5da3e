#include "autograd/gradcheck/derivative.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace attune::gradcheck_internal {

double Tolerance::operator()(double analytic, double numeric) const {
  return absolute + relative * std::max({std::abs(analytic), std::abs(numeric), size});
}

bool persists(double jump, double before, double slope, double noise) {
  // Where there is a second derivative the jump shrinks with the step. Rounding inside the function may be much larger
  // than that of its result.
  return jump > 0.75 * before && jump > 1e-3 * slope && jump > 1000 * noise;
}

/// The central difference quotient, and how far apart those of both sides are; around `centre` instead of 0, if given.
Differentiator::Quotient Differentiator::quotient(const Move& move, double h, double centre) {
  const double middle = move(centre);
  if (centre != 0) evaluate_(middle_);
  const std::vector<double>& at_rest = centre != 0 ? middle_ : at_rest_;
  const double right = move(centre + h) - middle;
  evaluate_(above_);
  const double left = middle - move(centre - h);
  evaluate_(below_);
  move(0);
  Quotient q;
  double difference = 0;
  double magnitude = 0;
  for (size_t i = 0; i < above_.size(); ++i) {
    if (above_[i] == below_[i] && above_[i] == at_rest[i]) continue;
    const double change = above_[i] - below_[i];
    difference += change;
    magnitude += std::abs(above_[i]) + std::abs(below_[i]);
    q.slope += std::abs(change);
    q.jump += std::abs((above_[i] - at_rest[i]) / right - (at_rest[i] - below_[i]) / left);
  }
  const double width = right + left;
  q.value = difference / width;
  q.slope /= width;
  q.error = std::numeric_limits<double>::epsilon() * magnitude / width;
  return q;
}

/// By Ridders' table: difference quotients at halved steps, each extrapolated through all before. Ends when the error
/// is far below what the comparison can notice, or grows because rounding takes over.
Differentiator::Derivative Differentiator::extrapolate(const Move& move, double step, const Tolerance& tolerance) {
  constexpr int kLevels = 6;
  std::array<double, kLevels> before{};  // the table's last row
  Derivative best;
  double h = step;
  double first_jump = 0;
  for (int level = 0; level < kLevels; ++level, h /= 2) {
    const Quotient plain = quotient(move, h);
    if (level == 0) first_jump = plain.jump;
    if (level == 1) jumps_ = persists(plain.jump, first_jump, plain.slope, plain.error);
    std::array<double, kLevels> row{};
    row[0] = plain.value;
    double factor = 4;
    for (int k = 1; k <= level; ++k, factor *= 4) {
      const auto i = static_cast<size_t>(k);
      row[i] = (factor * row[i - 1] - before[i - 1]) / (factor - 1);
      const double error = std::max({std::abs(row[i] - row[i - 1]), std::abs(row[i] - before[i - 1]), plain.error});
      if (error < best.error) best = {row[i], error, h};
    }
    if (level == 0) {
      best.value = plain.value;
    } else {
      if (best.error <= 0.01 * tolerance(best.value, best.value)) break;
      const auto last = static_cast<size_t>(level);
      if (std::abs(row[last] - before[last - 1]) > 8 * best.error) break;
    }
    before = row;
  }
  return best;
}

bool Differentiator::has_kink(const Move& move, double step) {
  const double near = step / 1024;
  const auto is_broken = [&](double centre) {
    const Quotient far = quotient(move, near, centre);
    const Quotient close = quotient(move, near / 8, centre);
    return persists(close.jump, far.jump, close.slope, close.error);
  };
  // A function that is broken beside it, too, is rough, which is no kink.
  return is_broken(0) && !is_broken(3 * near) && !is_broken(-3 * near);
}

Finding Differentiator::examine(const Move& move, double step, double analytic, const Tolerance& tolerance) {
  const auto agrees = [&](const Derivative& d) {
    return std::abs(analytic - d.value) <= tolerance(analytic, d.value);  // false for NaN
  };
  Derivative best = extrapolate(move, step, tolerance);
  if (agrees(best) && !jumps_) return {GradientVerdict::kOk, best.value, best.error};
  if (has_kink(move, step)) {
    const Quotient close = quotient(move, step / 8192);
    return {GradientVerdict::kKink, close.value, close.jump};
  }
  if (agrees(best)) return {GradientVerdict::kOk, best.value, best.error};
  const Derivative near = extrapolate(move, step / 32, tolerance);
  if (agrees(near)) return {GradientVerdict::kOk, near.value, near.error};
  const Derivative nearest = extrapolate(move, step / 1024, tolerance);
  if (agrees(nearest)) return {GradientVerdict::kOk, nearest.value, nearest.error};
  // A kink nearby spoils the large step alone. How rough the function is shows in its second difference over next to
  // nothing; estimates that seem better than that are luck.
  const double next_to_nothing = step / 8192;
  double roughness = 0;
  for (const double centre : {0.0, step / 512, -step / 512}) {
    roughness = std::max(roughness, quotient(move, next_to_nothing, centre).jump * next_to_nothing);
  }
  const double near_error = std::max(near.error, roughness / near.step);
  const double nearest_error = std::max(nearest.error, roughness / nearest.step);
  best = near_error <= nearest_error ? near : nearest;
  best.error = std::min(near_error, nearest_error);
  const double difference = std::abs(analytic - best.value);
  const bool noise = best.error > tolerance(analytic, best.value) && difference <= 8 * best.error;
  return {noise ? GradientVerdict::kNoise : GradientVerdict::kWrong, best.value, best.error};
}

}  // namespace attune::gradcheck_internal
