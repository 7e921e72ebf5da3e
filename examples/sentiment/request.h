#pragma once

#include <optional>

#include "examples/sentiment/commands.h"
#include "examples/sentiment/config.h"

namespace attune::examples {

/// The configuration that a command line asks for, on top of a preset or, when a run is resumed, of the configuration
/// `saved` with it. Throws UsageError for values that cannot be, and when what is asked for is not what was saved.
Config requested_config(const TrainOptions& options, const std::optional<Config>& saved);

}  // namespace attune::examples
