#include "examples/support/graphs.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "examples/support/notice.h"

namespace attune::examples {

void add_graphs_option(CLI::App& app, std::string& name) {
  app.add_option("--graphs", name,
                 "Record training steps as CUDA graphs: on, off, or auto (those whose batches have shapes that repeat)")
      ->type_name("MODE")
      ->check(CLI::IsMember({"on", "off", "auto"}))
      ->capture_default_str();
}

GraphMode graph_mode(const std::string& name, Device device) {
  if (name == "on" && device.is_cpu()) throw UsageError("--graphs on needs --device cuda: the cpu records no steps");
  return name == "on" ? GraphMode::kOn : name == "off" ? GraphMode::kOff : GraphMode::kAuto;
}

std::unique_ptr<StepGraphs> make_step_graphs(GraphMode mode, const ParameterList& parameters) {
  return std::make_unique<StepGraphs>(
      mode, parameters, [](const std::string& reason) { notice("without CUDA graphs: {}", one_line(reason)); });
}

}  // namespace attune::examples
