#pragma once

#include <string>
#include <vector>

#include "framework/device.h"
#include "layers/module.h"

namespace attune::examples {

struct SharedOptions;

/// Where a model computes, and in what.
struct Placement {
  Device device;
  Precision precision = Precision::kFull;
};

/// "float32" and "bf16": what --precision and the setting run.precision take.
const std::vector<std::string>& precision_names();
/// Throws ValueError for another name.
Precision parse_precision(const std::string& name);

/// What --device and --precision ask for.
Placement placement_of(const SharedOptions& options);

void place(Module& model, const Placement& placement);

}  // namespace attune::examples
