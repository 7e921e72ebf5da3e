#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace attune::testing {

/// `count` labelled lines "label<TAB>text" of the embedded reviews.
std::string review_lines(int64_t count, uint64_t seed = 0);

/// Command line of a training run that takes a moment: a small model on the file `data` that is its own development
/// data; `more` comes last.
std::vector<std::string> small_training(const std::string& data, const std::string& out,
                                        const std::vector<std::string>& more = {});

}  // namespace attune::testing
