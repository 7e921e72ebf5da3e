#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace attune::examples {

/// The text state/progress of a checkpoint of `program`. Throws FormatError unless it is a JSON object, its counts
/// ("step", "epoch", "batch", "tokens" ...) whole numbers from 0 on wherever they stand.
nlohmann::ordered_json progress_json(const std::string& text, const std::string& program);

}  // namespace attune::examples
