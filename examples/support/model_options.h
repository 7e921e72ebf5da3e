#pragma once

#include <cstdint>
#include <string>

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's own name
class App;
}

// Options of what programs do with a trained model.

namespace attune::examples {

/// --checkpoint, which has to be there.
void add_checkpoint_option(CLI::App& app, std::string& checkpoint);
/// --beam and --length-penalty. text: what is searched for, "sentence".
void add_search_options(CLI::App& app, int64_t& beam, double& length_penalty, const std::string& text);

}  // namespace attune::examples
