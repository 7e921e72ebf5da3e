#include <fmt/format.h>
#include <fmt/ranges.h>

#include "examples/gradcheck/run.h"

namespace attune::examples {
namespace {

std::string extents(const Shape& shape) { return fmt::format("{{{}}}", fmt::join(shape.begin(), shape.end(), ", ")); }

/// An int64 or bool tensor by its elements.
std::string literal(const Tensor& tensor) {
  const bool is_bool = tensor.dtype() == DType::kBool;
  const std::vector<int64_t> values = tensor.to(DType::kInt64).to_vector<int64_t>();
  return fmt::format("Tensor::from<int64_t>({{{}}}, {}){}", fmt::join(values, ", "), extents(tensor.shape()),
                     is_bool ? ".to(DType::kBool)" : "");
}

/// GradcheckOptions with the rules about zeros.
std::string options_code(const Case& made, uint64_t seed) {
  if (made.zeros.empty()) return fmt::format("  const GradcheckOptions how{{.seed = {}}};\n", seed);
  std::string code = fmt::format("  GradcheckOptions how{{.seed = {}}};\n", seed);
  for (const GradcheckZeros& rule : made.zeros) {
    std::vector<std::string> outputs, leaves;
    for (const Tensor& output : rule.outputs) outputs.push_back(literal(output));
    for (const auto& [name, where] : rule.leaves) leaves.push_back(fmt::format("{{\"{}\", {}}}", name, literal(where)));
    code += fmt::format("  how.zeros.push_back({{\"{}\",\n    {{{}}},\n    {{{}}},\n    {}}});\n", rule.what,
                        fmt::join(outputs, ",\n     "), fmt::join(leaves, ",\n     "), rule.by_definition);
  }
  return code;
}

}  // namespace

std::string code_of(const PlannedCase& planned) {
  const Case made = planned.row->make(planned.options, planned.draw);
  const uint64_t seed = planned.draw.seed;
  std::string code =
      fmt::format("// {} {}: {}\n#include <attune.h>\n\n#include <cstdio>\n\nusing namespace attune;\n\n",
                  planned.row->name, planned.options.json(), planned.draw.to_string());
  code += "int main() {\n";
  code += fmt::format("  manual_seed({});\n  {}\n  layer.to(DType::kFloat64);\n  RandomStream random({});\n", seed,
                      made.declaration, seed);
  code +=
      "  for (auto& [name, parameter] : layer.named_parameters()) {\n"
      "    Tensor(parameter.value()).copy_(random.normal(parameter.shape(), 0, 0.5, DType::kFloat64));\n"
      "  }\n"
      "  NamedLeaves leaves = layer.named_parameters();\n";
  for (const Case::Input& input : made.inputs) {
    code += fmt::format(
        "  const Variable {0}(random.normal({1}, 0, 1, DType::kFloat64), true);  // [{2}]\n"
        "  leaves.emplace_back(\"{0}\", {0});\n",
        input.name, extents(input.shape), input.axes);
  }
  for (const auto& [name, tensor] : made.constants) {
    code += fmt::format("  const Tensor {} = {};\n", name, literal(tensor));
  }
  code += fmt::format(
      "  const auto f = [&]() -> std::vector<Variable> {{\n"
      "    manual_seed({});\n"
      "    {}\n"
      "  }};\n",
      seed, made.body);
  code += options_code(made, seed) + "  const GradcheckReport report = gradcheck(f, leaves, how);\n";
  code += "  std::printf(\"%s\", report.to_string().c_str());\n  return report.ok ? 0 : 1;\n}\n";
  return code;
}

}  // namespace attune::examples
