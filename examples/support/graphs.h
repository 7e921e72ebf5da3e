#pragma once

#include <memory>
#include <string>

#include "autograd/step_graphs.h"
#include "examples/support/program.h"

namespace attune::examples {

/// --graphs on, off or auto.
void add_graphs_option(CLI::App& app, std::string& name);
/// What it asks for. Throws UsageError for "on" with a device that has no graphs.
GraphMode graph_mode(const std::string& name, Device device);

/// StepGraphs that say on standard error, once, why steps are not recorded.
std::unique_ptr<StepGraphs> make_step_graphs(GraphMode mode, const ParameterList& parameters);

}  // namespace attune::examples
