#include "examples/support/placement.h"

#include "examples/support/program.h"
#include "framework/fail.h"

namespace attune::examples {

const std::vector<std::string>& precision_names() {
  static const std::vector<std::string> names = {"float32", "bf16"};
  return names;
}

Precision parse_precision(const std::string& name) {
  if (name == "float32") return Precision::kFull;
  require<ValueError>(name == "bf16", "precision '{}' is unknown, expected float32 or bf16", name);
  return Precision::kBFloat16;
}

Placement placement_of(const SharedOptions& options) {
  return {parse_device(options.device), parse_precision(options.precision)};
}

void place(Module& model, const Placement& placement) {
  model.to(placement.device);
  model.set_precision(placement.precision);
}

}  // namespace attune::examples
