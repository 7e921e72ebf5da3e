#include "examples/support/model_options.h"

#include <CLI/CLI.hpp>

#include "examples/support/program.h"

namespace attune::examples {

void add_checkpoint_option(CLI::App& app, std::string& checkpoint) {
  app.add_option("--checkpoint", checkpoint, "best.h5 or last.h5 of a run")->type_name("FILE")->required();
}

void add_search_options(CLI::App& app, int64_t& beam, double& length_penalty, const std::string& text) {
  app.add_option("--beam", beam, "Hypotheses that are kept of each " + text + "; 1: greedy")
      ->type_name("N")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  app.add_option("--length-penalty", length_penalty, "Exponent of the length that scores are divided by")
      ->type_name("X")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
}

}  // namespace attune::examples
