#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace attune::testing {

/// Writes inputs to begin with into the corpus, the first folder that libFuzzer was given.
inline void write_seeds(int argc, char** argv, const std::vector<std::string>& seeds) {
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) continue;
    for (size_t n = 0; n < seeds.size(); ++n) {
      std::ofstream(std::filesystem::path(argv[i]) / ("seed" + std::to_string(n)), std::ios::binary) << seeds[n];
    }
    return;
  }
}

}  // namespace attune::testing
