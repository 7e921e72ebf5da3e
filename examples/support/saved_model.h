#pragma once

#include <functional>
#include <string>

#include "framework/checkpoint.h"

namespace attune::examples {

/// Calls make(), which builds the model that the configuration of a checkpoint describes, from `path`. A configuration
/// of a few bytes can describe gigabytes: a model that takes far more memory than the weights that are there is not
/// built to its end. Its weights are left uninitialised, to be loaded. That, and every other Error, is a FormatError
/// that begins with `path`.
void build_saved_model(const Checkpoint& checkpoint, const std::string& path, const std::function<void()>& make);

}  // namespace attune::examples
