#include "examples/support/saved_progress.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <string_view>

#include "framework/fail.h"
#include "framework/json_text.h"
#include "framework/text.h"

namespace attune::examples {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 9> kCounts = {"step",    "epoch",     "batch",  "tokens",        "examples",
                                                     "correct", "best_step", "waited", "evaluated_step"};

bool is_count(const Json& json) {
  return json.is_number_integer() && json >= 0 && (!json.is_number_unsigned() || json <= INT64_MAX);
}

/// nlohmann::json takes 1.5 for 1 and -1 for a large number where a whole one is asked for.
void require_counts(const Json& json) {
  for (const auto& [name, value] : json.items()) {
    if (value.is_structured()) require_counts(value);
    if (!json.is_object() || std::find(kCounts.begin(), kCounts.end(), name) == kCounts.end()) continue;
    require<FormatError>(is_count(value), "state/progress: {} is {}, expected a whole number from 0 on", name,
                         shown(value.dump(-1, ' ', false, Json::error_handler_t::replace), 40));
  }
}

}  // namespace

Json progress_json(const std::string& text, const std::string& program) {
  require<FormatError>(is_json(text), "state/progress is not that of a run of {}", program);
  Json json = Json::parse(text);
  require<FormatError>(json.is_object(), "state/progress is not that of a run of {}", program);
  require_counts(json);
  return json;
}

}  // namespace attune::examples
