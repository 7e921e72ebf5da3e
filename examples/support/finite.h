#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "framework/checkpoint.h"
#include "framework/error.h"

namespace attune::examples {

/// A training step that is not finite: the loss, a gradient or a weight.
class NotFinite : public ValueError {
 public:
  using ValueError::ValueError;
};

/// Throws NotFinite unless the loss of step number `step` is finite.
void require_finite_loss(double loss, int64_t step);

/// Calls optimize(), a step of an optimizer or a look at one: what that says of something not finite becomes NotFinite
/// of step number `step`.
template <class F>
void with_step(int64_t step, F&& optimize) {
  try {
    std::forward<F>(optimize)();
  } catch (const ValueError& error) {
    throw NotFinite("step " + std::to_string(step) + ": " + error.what());
  }
}

/// The name of the first floating tensor that holds NaN or infinity, with its shape; empty where there is none.
std::string first_not_finite(const NamedTensors& tensors);

/// Throws FormatError that begins with `file`, where weights were read from, unless all of them are finite.
void require_finite_weights(const NamedTensors& weights, const std::string& file);

/// A number that JSON has no way to write: NaN and infinity are written as null, and null is read as NaN.
double number_or_nan(const nlohmann::ordered_json& json);

/// What to change in a configuration whose run does not stay finite: "a smaller training.learning_rate (0.1 here),
/// ...".
std::string remedies(const std::string& config_json);

}  // namespace attune::examples
