#include "examples/support/finite.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>

#include "framework/dtype.h"
#include "framework/fail.h"
#include "framework/math/compare.h"
#include "framework/math/reduce.h"

namespace attune::examples {

using Json = nlohmann::ordered_json;

void require_finite_loss(double loss, int64_t step) {
  if (!std::isfinite(loss)) throw NotFinite(fmt::format("step {}: the loss is {}", step, loss));
}

std::string first_not_finite(const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (!is_floating(tensor.dtype())) continue;
    if (all(isfinite(tensor)).item() == 0) return fmt::format("'{}' {}", name, tensor.shape().to_string());
  }
  return {};
}

void require_finite_weights(const NamedTensors& weights, const std::string& file) {
  const std::string bad = first_not_finite(weights);
  require<FormatError>(
      bad.empty(),
      "{}: its weights are of no use: {} holds NaN or infinity; its run was not stopped in time, train "
      "again with a smaller training.learning_rate or with training.clip_norm",
      file, bad);
}

double number_or_nan(const Json& json) {
  return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
}

std::string remedies(const std::string& config_json) {
  const Json config = Json::parse(config_json);
  const Json& training = config.at("training");
  std::string text = fmt::format("training.learning_rate below {}", training.at("learning_rate").get<double>());
  if (training.at("clip_norm") == 0) text += ", training.clip_norm=1";
  if (config.at("run").at("precision") != "float32") text += ", --precision float32";
  return text;
}

}  // namespace attune::examples
